"""The ranking that comes of the keep term, and how its weight is set."""

import math

import keras
import numpy as np
import pytest
from small_models import (
    ENCODERS,
    VOCABULARY,
    batch_of,
    build,
    fit,
    numpy,
    random_sessions,
    with_random_weights,
)
from toy_sessions import NUM_ITEMS, toy_sessions
from value_and_gradient import finite_differences, value_and_gradient

import keras_negrec
from keras_negrec.data import Sessions

HISTORIES = toy_sessions(5)
KEEP = {"negative_loss": "keep"}


def keep_biases(model):
    return numpy(model.get_layer("keep_logit").keep_biases())


def test_gradient_by_finite_differences():
    model = build(**KEEP)
    labels = np.array([[[1.0], [0.0], [1.0]]], "float32")
    weight = np.array([[1.0, 1.0, 0.0]], "float32")
    logits = np.array([[[0.7], [-1.2], [3.0]]])

    def reference(values):
        signed = np.where(labels > 0, -values, values)[weight > 0]
        return np.mean(np.log(1 + np.exp(signed)))

    value, gradient = value_and_gradient(lambda x: model.loss["keep"](labels, x, weight), logits)
    assert value == pytest.approx(reference(logits), abs=1e-6)
    np.testing.assert_allclose(gradient, finite_differences(reference, logits), atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_score_is_what_is_shown_plus_the_keep_bias(name, tmp_path):
    model = with_random_weights(build(name, **KEEP, keep_weight=0.0))
    shown = model.score(HISTORIES)
    inputs = {key: HISTORIES.padded(8)[key] for key in model.serving_model.input}
    vectors = numpy(model.serving_model(inputs))
    table = numpy(model.item_embedding.table())
    np.testing.assert_allclose(shown, vectors[:, :-1] @ table.T, atol=1e-5)
    model.set_ranking_weights(keep=1.5)
    np.testing.assert_allclose(model.score(HISTORIES), shown + 1.5 * keep_biases(model), atol=1e-5)
    assert model.item_vectors().shape == (NUM_ITEMS, 9)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.ranking_weights == {"keep": 1.5}
    np.testing.assert_allclose(loaded.score(HISTORIES), model.score(HISTORIES), atol=1e-6)


def test_strength_out_of_range():
    model = build(**KEEP)
    for strength in (-0.1, math.nan, math.inf, True, "1"):
        with pytest.raises(ValueError, match=r"`keep_weight` must be a number of at least 0. Rec"):
            keras_negrec.models.feedback.Keep(keep_weight=strength)
        with pytest.raises(ValueError, match=r"`keep_weight` must be a number of at least 0. Rec"):
            model.set_ranking_weights(keep=strength)
    with pytest.raises(ValueError, match=r"rank in this model are \[\]. Received: keep=1.0"):
        build(negative_loss="contrastive").set_ranking_weights(keep=1.0)


def test_what_cannot_be_combined():
    assert build(**KEEP).target == "next"
    assert build(negative_loss=True).target == "next_positive"
    with pytest.raises(ValueError, match=r'`keep` needs target="next".*Received: target=.next_p'):
        build(**KEEP, target="next_positive")
    with pytest.raises(ValueError, match="`not_to_recommend` and `keep` cannot be combined"):
        build(negative_loss=["keep", "not_to_recommend"])


@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_learns_which_of_the_shown_items_are_kept(name):
    """All items come equally often after all others; five of the ten are always skipped."""
    items = np.random.default_rng(0).integers(1, 11, (96, 9))
    sessions = Sessions.from_lists(items.tolist(), np.where(items > 5, -1, 1).tolist())
    keras.utils.set_random_seed(0)
    model = build(name, **KEEP)
    history = fit(model, sessions, epochs=12)
    assert history["keep_loss"][-1] < 0.5 < history["keep_loss"][0]  # chance: log 2
    scores, bias = model.score(sessions), keep_biases(model)
    assert bias[:5].min() > 0 > bias[5:].max()
    model.set_ranking_weights(keep=0.0)
    shown = model.score(sessions)
    # What is shown does not depend on what is kept: half the items above, half below.
    assert np.mean(shown[:, :5] > shown[:, 5:]) < 0.65
    assert np.mean(scores[:, :5] > scores[:, 5:]) > 0.75


def test_new_items_start_with_the_mean_bias():
    model = with_random_weights(build(**KEEP, vocabulary=VOCABULARY))
    grown = keras_negrec.grow_vocabulary(model, ["new"])
    scores, expected = grown.score(HISTORIES), model.score(HISTORIES)
    np.testing.assert_allclose(scores[:, :-1], expected, atol=1e-5)
    np.testing.assert_allclose(scores[:, -1], expected.mean(axis=1), atol=1e-4)
    bias = keep_biases(model)
    np.testing.assert_allclose(keep_biases(grown), [*bias, bias.mean()], rtol=1e-4)


def test_bert4rec_never_sees_how_the_masked_event_was_received():
    model = build("bert4rec", **KEEP, feedback_inputs=True)
    x, y, _ = batch_of(model, random_sessions())
    masked = x["item_ids"] == model.mask_id
    assert masked.any()
    assert (x["feedback"][masked] == 0).all()
    assert y["keep"].any()
