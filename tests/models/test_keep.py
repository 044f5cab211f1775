"""The keep loss of whole models, against its definition, and the ranking that comes of it."""

import math

import keras
import numpy as np
import pytest
from keras import ops
from toy_sessions import NUM_ITEMS, toy_sessions
from value_and_gradient import finite_differences, value_and_gradient

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.models import BERT4Rec

ENCODERS = ["sasrec", "bert4rec", "gru4rec", "caser"]


def build(name="sasrec", **options):
    if name in ("sasrec", "bert4rec"):
        options = {"num_layers": 1, "intermediate_dim": 8, **options}
    options = {
        "max_length": 8,
        "embedding_dim": 8,
        "dropout": 0.0,
        "negative_loss": "keep",
    } | options
    if "vocabulary" not in options:
        options.setdefault("num_items", NUM_ITEMS)
    return keras_negrec.build_model(name, **options)


def with_random_biases(model):
    layer = model.get_layer("keep_logit")
    random = np.random.default_rng(5)
    layer.item_bias.assign(random.normal(size=model.num_items).astype("float32"))
    return ops.convert_to_numpy(layer.keep_biases())


def mixed_sessions():
    """Every kind of feedback, neutral too; rows of several lengths."""
    random = np.random.default_rng(1)
    lengths = [6, 8, 5, 1, 7, 3, 8, 4]
    items = [random.integers(1, NUM_ITEMS + 1, n).tolist() for n in lengths]
    return Sessions.from_lists(items, [random.integers(-2, 3, n).tolist() for n in lengths])


@pytest.mark.parametrize("num_sampled_negatives", [None, 4])
@pytest.mark.parametrize("name", ENCODERS)
def test_against_the_definition(name, num_sampled_negatives):
    model = build(name, num_sampled_negatives=num_sampled_negatives)
    bias = with_random_biases(model)
    if name == "bert4rec":
        model.encoder.last_probability = 0.0
    sessions = mixed_sessions()
    [(x, y, weight)] = model.training_dataset(sessions, batch_size=99, shuffle=False)
    x, y, weight = (
        {key: values.numpy() for key, values in part.items()} for part in (x, y, weight)
    )
    found = float(
        model.loss["keep"](y["keep"], ops.convert_to_numpy(model(x)["keep"]), weight["keep"])
    )

    predictions = keras.Model(model.input, model.get_layer("prediction_head").output)(x)
    predictions = ops.convert_to_numpy(predictions)
    kernel, offset = (
        ops.convert_to_numpy(values) for values in model.get_layer("keep_logit").dense.weights
    )
    losses = []
    for row in range(len(sessions)):
        one = sessions.take([row])
        items, values = one.item_ids.tolist(), one.feedback.tolist()
        for slot in np.flatnonzero(weight["next_item"][row]):
            # The inputs of a causal model lack the last column, and it predicts the next event.
            shown = x["target_positions"][row, slot] - (x["item_ids"].shape[1] - len(items))
            if values[shown] == 0:
                assert weight["keep"][row, slot] == 0
                continue
            logit = predictions[row, slot] @ kernel[:, 0] + offset[0] + bias[items[shown] - 1]
            probability = 1 / (1 + math.exp(-logit))
            losses.append(-math.log(probability if values[shown] > 0 else 1 - probability))
    assert len(losses) >= 5
    assert len(losses) == weight["keep"].sum()
    assert found == pytest.approx(np.mean(losses), abs=1e-5)


def test_gradient_by_finite_differences():
    model = build()
    labels = np.array([[[1.0], [0.0], [1.0]]], "float32")
    weight = np.array([[1.0, 1.0, 0.0]], "float32")
    logits = np.array([[[0.7], [-1.2], [3.0]]])

    def reference(values):
        terms = [
            math.log(1 + math.exp(-value if label else value))
            for value, label, counts in zip(
                values.ravel(), labels.ravel(), weight.ravel(), strict=True
            )
            if counts
        ]
        return sum(terms) / len(terms)

    value, gradient = value_and_gradient(lambda x: model.loss["keep"](labels, x, weight), logits)
    assert value == pytest.approx(reference(logits), abs=1e-6)
    np.testing.assert_allclose(gradient, finite_differences(reference, logits), atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_score_is_what_is_shown_plus_the_keep_bias(name):
    model = build(name, keep_weight=0.0)
    bias = with_random_biases(model)
    histories = toy_sessions(5)
    shown = model.score(histories)
    vectors = ops.convert_to_numpy(
        model.serving_model({key: histories.padded(8)[key] for key in model.serving_model.input})
    )
    table = ops.convert_to_numpy(model.item_embedding.table())
    np.testing.assert_allclose(shown, vectors[:, :-1] @ table.T, atol=1e-5)
    model.set_ranking_weights(keep=1.5)
    np.testing.assert_allclose(model.score(histories), shown + 1.5 * bias, atol=1e-5)
    assert model.item_vectors().shape == (NUM_ITEMS, 9)


def test_strength_is_saved(tmp_path):
    model = build()
    with_random_biases(model)
    model.set_ranking_weights(keep=0.25)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.ranking_weights == {"keep": 0.25}
    histories = toy_sessions(5)
    np.testing.assert_allclose(loaded.score(histories), model.score(histories), atol=1e-6)


@pytest.mark.parametrize("strength", [-0.1, math.nan, math.inf, True, "1"])
def test_strength_out_of_range(strength):
    with pytest.raises(ValueError, match=r"`keep_weight` must be a number of at least 0. Rec"):
        build(keep_weight=strength)
    model = build()
    with pytest.raises(ValueError, match=r"`keep_weight` must be a number of at least 0. Rec"):
        model.set_ranking_weights(keep=strength)


def test_strength_of_a_model_without_keep():
    model = build(negative_loss="contrastive")
    with pytest.raises(
        ValueError, match=r"terms that rank in this model are \[\]. Received: keep=1.0"
    ):
        model.set_ranking_weights(keep=1.0)


def test_what_cannot_be_combined():
    assert build().target == "next"
    assert build(negative_loss=True).target == "next_positive"
    with pytest.raises(ValueError, match=r'`keep` needs target="next".*Received: target=.next_p'):
        build(target="next_positive")
    with pytest.raises(ValueError, match="`not_to_recommend` and `keep` cannot be combined"):
        build(negative_loss=["keep", "not_to_recommend"])


@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_learns_which_of_the_shown_items_are_kept(name):
    """All items come equally often after all others; five of the ten are always skipped."""
    random = np.random.default_rng(0)
    items = random.integers(1, 11, (96, 9))
    sessions = Sessions.from_lists(items.tolist(), np.where(items > 5, -1, 1).tolist())
    keras.utils.set_random_seed(0)
    model = build(name, learning_rate=0.01)
    history = model.fit(
        model.training_dataset(sessions, batch_size=16), epochs=12, shuffle=False, verbose=0
    ).history
    assert history["keep_loss"][-1] < 0.5 < history["keep_loss"][0]  # chance: log 2
    scores = model.score(sessions)
    bias = ops.convert_to_numpy(model.get_layer("keep_logit").keep_biases())
    assert bias[:5].min() > 0 > bias[5:].max()
    model.set_ranking_weights(keep=0.0)
    shown = model.score(sessions)
    # What is shown does not depend on what is kept: half the items above, half below.
    assert np.mean(shown[:, :5] > shown[:, 5:]) < 0.65
    assert np.mean(scores[:, :5] > scores[:, 5:]) > 0.75


def test_new_items_start_with_the_mean_bias():
    model = build(vocabulary=Vocabulary([f"track {i}" for i in range(NUM_ITEMS)]))
    bias = with_random_biases(model)
    grown = keras_negrec.grow_vocabulary(model, ["new"])
    histories = toy_sessions(4)
    scores = grown.score(histories)
    np.testing.assert_allclose(scores[:, :-1], model.score(histories), atol=1e-5)
    np.testing.assert_allclose(scores[:, -1], model.score(histories).mean(axis=1), atol=1e-4)
    found = ops.convert_to_numpy(grown.get_layer("keep_logit").keep_biases())
    np.testing.assert_allclose(found, [*bias, bias.mean()], rtol=1e-5)


def test_bert4rec_never_sees_how_the_masked_event_was_received():
    model = build("bert4rec", feedback_inputs=True)
    assert isinstance(model.encoder, BERT4Rec)
    sessions = mixed_sessions()
    [(x, y, _)] = model.training_dataset(sessions, batch_size=99, shuffle=False)
    masked = x["item_ids"].numpy() == model.mask_id
    assert masked.any()
    assert (x["feedback"].numpy()[masked] == 0).all()
    assert y["keep"].numpy().any()
