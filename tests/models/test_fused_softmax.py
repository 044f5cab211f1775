"""The fused softmax is the softmax. That it is saved is tested with all other models."""

import keras
import numpy as np
import pytest
from small_models import batch_of, build, fit, numpy
from toy_sessions import NUM_ITEMS, toy_sessions

FEATURES = np.random.default_rng(0).normal(size=(NUM_ITEMS, 3)).astype("float32")
CASES = {
    "bert4rec": {"feedback_inputs": True},
    "gru4rec": {"negative_loss": "contrastive"},
    "caser": {"negative_loss": "keep", "max_sessions": 2},
    "sasrec": {"item_features": FEATURES},
}


def plain_and_fused(name, **options):
    models = [build(name, fused_softmax=fused, **options) for fused in (False, True)]
    models[1].set_weights(models[0].get_weights())
    return models


@pytest.mark.parametrize("name", CASES)
def test_training_is_the_same(name):
    sessions = toy_sessions(32, with_sessions=True)
    if name == "sasrec":  # with features the last item, which never occurs, does not compete
        rows = [row for row in range(32) if NUM_ITEMS not in sessions.take([row]).item_ids]
        assert len(rows) > 4
        sessions = sessions.take(rows)
    keras.utils.set_random_seed(0)
    plain, fused = plain_and_fused(name, **CASES[name])
    expected, found = (fit(model, sessions, epochs=2) for model in (plain, fused))
    assert set(found) == set(expected)
    for line, values in expected.items():
        np.testing.assert_allclose(found[line], values, rtol=1e-4, err_msg=line)
    np.testing.assert_allclose(fused.score(sessions), plain.score(sessions), atol=1e-3)


def test_output_is_the_loss_of_each_target():
    plain, fused = plain_and_fused("sasrec")
    x, _, _ = batch_of(fused, toy_sessions(4))
    found = numpy(fused(x)["next_item"])
    x, y, weight = batch_of(plain, toy_sessions(4))
    logits = numpy(plain(x)["next_item"])
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    chosen = np.take_along_axis(probabilities, y["next_item"][..., np.newaxis], -1)[..., 0]
    expected = np.where(weight["next_item"] > 0, -np.log(chosen), 0)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)
