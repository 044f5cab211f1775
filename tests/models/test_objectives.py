"""What whole models with sampled negatives or a fused softmax put out."""

import math

import keras
import numpy as np
import pytest
from small_models import batch_of, build, fit, layer_outputs, numpy
from toy_sessions import NUM_ITEMS, toy_sessions

NUM_NEGATIVES = 7
REMOVED = -1e3  # what is at most this stands for minus infinity


@pytest.mark.parametrize("objective", ["softmax", "gbce", "bpr"])
@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_sampled_logits_against_the_definition(name, objective):
    model = build(
        name,
        max_length=16,
        objective=objective,
        num_sampled_negatives=NUM_NEGATIVES,
        sampling_distribution="log_uniform",
        skips_as_negatives=True,
        negative_loss="not_to_recommend",
    )
    table = np.random.default_rng(0).normal(size=(NUM_ITEMS, 8)).astype("float32")
    model.item_embedding.embeddings.assign(table)
    table = np.concatenate([np.zeros((1, 8)), table])  # row i is item i
    x, y, weight = batch_of(model, toy_sessions(8), batch_size=8)
    found = layer_outputs(model, x, negatives="negative_sampler", predictions="prediction_head")
    negatives = found["negatives"][0]

    def log_count(item):
        """Log of how often an item is expected in the sample; 0 without the correction."""
        if objective != "softmax":
            return 0.0
        return math.log(NUM_NEGATIVES * math.log((item + 1) / item) / math.log(NUM_ITEMS + 1))

    def sampled(scores, item):
        return [-math.inf if n == item else scores[n] - log_count(n) for n in negatives]

    num_targets = num_skips = 0
    for row, slot in np.ndindex(x["target_ids"].shape):
        prediction = found["predictions"][row, slot]
        target, skipped = x["target_ids"][row, slot], x["skip_target_ids"][row, slot]
        own = x["skipped_ids"][row]

        scores = table @ prediction
        if target:
            expected = [scores[target] - log_count(target), *sampled(scores, target)]
            expected += [-math.inf if i in (0, target) else scores[i] for i in own]
            check(found["next_item"][row, slot], expected)
            num_targets += 1
        if skipped:
            # It is no draw but certain to be there: its own logit is not corrected.
            expected = [scores[skipped], *sampled(scores, skipped)]
            check(found["not_to_recommend"][row, slot], expected)
            num_skips += 1
    assert num_targets == weight["next_item"].sum() > 0
    assert num_skips == weight["not_to_recommend"].sum() > 0
    assert (y["next_item"] == 0).all()  # the target is class 0


def check(found, expected):
    expected = np.array(expected)
    removed = np.isneginf(expected)
    assert (found[removed] < REMOVED).all()
    np.testing.assert_allclose(found[~removed], expected[~removed], rtol=1e-4, atol=1e-4)


# The fused softmax is the softmax. That it is saved is tested with all other models.

CASES = {
    "bert4rec": {"feedback_inputs": True},
    "gru4rec": {"negative_loss": "contrastive"},
    "caser": {"negative_loss": "keep", "max_sessions": 2},
    "sasrec": {"item_features": np.random.default_rng(0).normal(size=(NUM_ITEMS, 3))},
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
