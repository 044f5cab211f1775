"""The fused softmax is the softmax."""

import keras
import numpy as np
import pytest
from keras import ops
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec

FEATURES = np.random.default_rng(0).normal(size=(NUM_ITEMS, 3)).astype("float32")
CASES = {
    "sasrec": {},
    "bert4rec": {"feedback_inputs": True},
    "gru4rec": {"negative_loss": "contrastive"},
    "caser": {"negative_loss": "keep", "max_sessions": 2},
    "sasrec with features": {"item_features": FEATURES},
}


def build(name, **options):
    name = name.split()[0]
    if name in ("sasrec", "bert4rec"):
        options = {"num_layers": 1, "intermediate_dim": 8, **options}
    keras.utils.set_random_seed(0)
    return keras_negrec.build_model(
        name, num_items=NUM_ITEMS, max_length=8, embedding_dim=8, dropout=0.0, **options
    )


@pytest.mark.parametrize("name", CASES)
def test_training_is_the_same(name):
    sessions = toy_sessions(32, with_sessions=True)
    if name == "sasrec with features":  # the last item never occurs, and does not compete
        sessions = sessions.take(
            np.flatnonzero(
                [NUM_ITEMS not in sessions.take([row]).item_ids for row in range(len(sessions))]
            )
        )
        assert len(sessions) > 4
    plain, fused = build(name, **CASES[name]), build(name, fused_softmax=True, **CASES[name])
    fused.set_weights(plain.get_weights())
    histories = [
        model.fit(
            model.training_dataset(sessions, batch_size=16),
            epochs=2,
            shuffle=False,
            verbose=0,
        ).history
        for model in (plain, fused)
    ]
    assert set(histories[0]) == set(histories[1])
    for line, values in histories[0].items():
        np.testing.assert_allclose(histories[1][line], values, rtol=1e-4, err_msg=line)
    np.testing.assert_allclose(fused.score(sessions), plain.score(sessions), atol=1e-3)


def test_output_is_the_loss_of_each_target():
    plain, fused = build("sasrec"), build("sasrec", fused_softmax=True)
    fused.set_weights(plain.get_weights())
    sessions = toy_sessions(4)
    [(x, y, weight)] = fused.training_dataset(sessions, batch_size=9, shuffle=False)
    found = ops.convert_to_numpy(
        fused({key: values.numpy() for key, values in x.items()})["next_item"]
    )
    [(x, y, weight)] = plain.training_dataset(sessions, batch_size=9, shuffle=False)
    logits = ops.convert_to_numpy(
        plain({key: values.numpy() for key, values in x.items()})["next_item"]
    )
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    chosen = np.take_along_axis(probabilities, y["next_item"].numpy()[..., np.newaxis], -1)[..., 0]
    expected = np.where(weight["next_item"].numpy() > 0, -np.log(chosen), 0)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_saved_and_loaded(tmp_path):
    model = build("sasrec", fused_softmax=True)
    batch = next(iter(model.training_dataset(toy_sessions(8), batch_size=8)))
    batch = [{key: values.numpy() for key, values in part.items()} for part in batch]
    model.train_on_batch(*batch)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = model.train_on_batch(*batch, return_dict=True)
    assert loaded.train_on_batch(*batch, return_dict=True) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "options", [{"num_sampled_negatives": 4}, {"negative_loss": "not_to_recommend"}]
)
def test_what_needs_the_logits(options):
    with pytest.raises(ValueError, match=r"`fused_softmax` is for .*without|fused .* no logits"):
        build("sasrec", fused_softmax=True, **options)
