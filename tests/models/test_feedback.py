"""The losses of feedback terms in whole models, against their definitions, and their ranking."""

import math

import keras
import numpy as np
import pytest
from small_models import (
    ENCODERS,
    batch_of,
    build,
    fit,
    layer_outputs,
    numpy,
    random_sessions,
    rows_of,
    with_random_weights,
)
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec
from keras_negrec.data import Sessions


def trained_on(name, negative_loss, sessions, **options):
    """A model with random item vectors, a batch, and the loss of one of its outputs."""
    model = build(name, negative_loss=negative_loss, **options)
    table = np.random.default_rng(0).normal(size=(NUM_ITEMS, 8)).astype("float32")
    model.item_embedding.embeddings.assign(table)
    if negative_loss == "keep":
        bias = np.random.default_rng(5).normal(size=NUM_ITEMS).astype("float32")
        model.get_layer("keep_logit").item_bias.assign(bias)
    if name == "bert4rec":  # rows as they are: the last event's case is tested elsewhere
        model.encoder.last_probability = 0.0
    x, y, weight = batch_of(model, sessions)
    found = layer_outputs(model, x, predictions="prediction_head")
    arguments = (y[negative_loss], found[negative_loss], weight[negative_loss])
    return model, x, weight, found, float(model.loss[negative_loss](*arguments))


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def projections(model):
    """The two networks of a projected contrastive term: functions of vectors."""
    kernels = [
        [*map(numpy, model.get_layer(f"{which}_projection").weights)]
        for which in ("context", "item")
    ]

    def network(weights):
        def project(vectors):
            hidden = vectors @ weights[0] + weights[1]
            hidden = hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2))) / 2
            vectors = hidden @ weights[2] + weights[3]
            return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

        return project

    return [*map(network, kernels)]


@pytest.mark.parametrize("with_sessions", [False, True])
@pytest.mark.parametrize("context", ["hidden", "item", "projected"])
@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_contrastive(name, context, with_sessions):
    sessions = random_sessions(with_sessions)
    is_projected, context = context == "projected", context.replace("projected", "hidden")
    model, x, weight, outputs, found = trained_on(
        name,
        "contrastive",
        sessions,
        context=context,
        projection_dim=5 if is_projected else None,
        temperature=0.2,
        max_sessions=2 if with_sessions else None,
    )
    table = np.concatenate([np.zeros((1, 8)), numpy(model.item_embedding.embeddings)])
    length = x["candidate_ids"].shape[1]
    losses = []
    if is_projected:
        project, project_items = projections(model)
        outputs["predictions"] = project(outputs["predictions"])
        table = np.concatenate([np.zeros((1, 5)), project_items(table[1:])])
    for row, (items, values, ids) in enumerate(rows_of(sessions)):
        offset = length - len(items)  # padding on the left
        contexts = [(i, table[items[i]]) for i in range(len(items))]
        if context == "hidden":
            contexts = [
                (x["target_positions"][row, slot] - offset, outputs["predictions"][row, slot])
                for slot in np.flatnonzero(weight["next_item"][row])
            ]
        for i, vector in contexts:
            later = [j for j in range(i + 1, len(items)) if values[j] > 0 and ids[j] == ids[i]]
            if name == "bert4rec" and context == "hidden":
                assert x["item_ids"][row, i + offset] == model.mask_id
                later = [i]  # the masked item itself
            negatives = [
                items[j]
                for j in range(len(items))
                if later and values[j] < 0 and ids[j] == ids[i] and items[j] != items[later[0]]
            ]
            if negatives:
                terms = [
                    math.exp(cosine(vector, table[item]) / 0.2)
                    for item in (items[later[0]], *negatives)
                ]
                losses.append(-math.log(terms[0] / sum(terms)))
    assert len(losses) >= 3
    assert found == pytest.approx(np.mean(losses), abs=1e-4)


@pytest.mark.parametrize("name", ENCODERS)
def test_not_to_recommend(name):
    sessions = random_sessions()
    model, x, weight, outputs, found = trained_on(name, "not_to_recommend", sessions)
    causal, length, losses = model.encoder.causal, x["item_ids"].shape[1], []
    for row, (items, values, _) in enumerate(rows_of(sessions)):
        for slot, position in enumerate(x["target_positions"][row]):
            asked = position - (length + causal - len(items)) + causal  # the event to predict
            is_asked = causal <= asked < len(items)
            if not causal:
                is_asked = is_asked and x["item_ids"][row, position] == model.mask_id
            counts = weight["not_to_recommend"][row, slot] == 1
            if not counts or not is_asked or values[asked] >= 0:
                assert not counts or position == 0
                continue
            exponentials = np.exp(outputs["not_to_recommend"][row, slot].astype("float64"))
            losses.append(-math.log(1 - exponentials[items[asked] - 1] / exponentials.sum()))
    assert len(losses) >= 3
    if causal:  # every skip after another event is there
        assert len(losses) == sum(
            value < 0 for _, values, _ in rows_of(sessions) for value in values[1:]
        )
    assert found == pytest.approx(np.mean(losses), abs=1e-4)


def keep_logits(model, vectors):
    """The log odds of all items after prediction vectors, by the weights of the layer."""
    layer = model.get_layer("keep_logit")
    kernel, offset, bias = map(numpy, (*layer.dense.weights, layer.item_bias))
    contexts = vectors @ kernel + offset
    found = contexts[..., :1] + 4 * bias
    return found + contexts[..., 1:] @ numpy(layer.item_vectors).T if layer.context_dim else found


@pytest.mark.parametrize("num_sampled_negatives", [None, 4])
@pytest.mark.parametrize("options", [{}, {"horizon": 3, "context_dim": 4}], ids=["", "context"])
@pytest.mark.parametrize("name", ENCODERS)
def test_keep(name, options, num_sampled_negatives):
    sessions = random_sessions(with_sessions := name == "sasrec" and bool(options))
    model, x, weight, outputs, found = trained_on(
        name,
        "keep",
        sessions,
        num_sampled_negatives=num_sampled_negatives,
        context_dropout=0.0,
        max_sessions=2 if with_sessions else None,
        **options,
    )
    losses, length = [], x["candidate_ids"].shape[1]
    for row, (items, values, ids) in enumerate(rows_of(sessions)):
        for slot in np.flatnonzero(weight["next_item"][row]):
            # A causal model predicts the next event, a cloze model the one it stands in for.
            first = x["target_positions"][row, slot] + model.encoder.causal
            logits = keep_logits(model, outputs["predictions"][row, slot])
            for column in range(first, min(first + options.get("horizon", 1), length)):
                event = column - (length - len(items))
                is_seen = not model.encoder.causal and x["item_ids"][row, column] != model.mask_id
                if is_seen or values[event] == 0 or ids[event] != ids[first - length]:
                    assert weight["keep"][row, slot, column] == 0
                    continue
                assert weight["keep"][row, slot, column] == 1
                probability = 1 / (1 + math.exp(-logits[items[event] - 1]))
                losses.append(-math.log(probability if values[event] > 0 else 1 - probability))
    assert len(losses) >= 5
    assert len(losses) == weight["keep"].sum()
    assert found == pytest.approx(np.mean(losses), abs=1e-5)


@pytest.mark.parametrize("with_reference", [False, True])
@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_preference(name, with_reference):
    sessions = random_sessions()
    reference = with_random_weights(build(name)) if with_reference else None
    model, x, weight, outputs, found = trained_on(
        name, "preference", sessions, beta=0.5, reference=reference
    )
    own, losses = numpy(model.item_embedding.embeddings), []
    if with_reference:
        own_inputs = {key: x[key] for key in reference.input}
        found_there = layer_outputs(reference, own_inputs, predictions="prediction_head")
        of_reference = found_there["predictions"]
        table = numpy(reference.item_embedding.embeddings)
    for row, (items, values, _) in enumerate(rows_of(sessions)):
        for slot in np.flatnonzero(weight["next_item"][row]):
            # Of a causal model the first kept item after it, of a cloze model the masked one.
            event = x["target_positions"][row, slot] - (x["candidate_ids"].shape[1] - len(items))
            kept = next(j for j in range(event + model.encoder.causal, len(items)) if values[j] > 0)
            d = own @ outputs["predictions"][row, slot]
            if with_reference:
                d = d - table @ of_reference[row, slot]
            negatives = [
                item
                for item, value in zip(items, values, strict=True)
                if value < 0 and item != items[kept]
            ]
            if negatives:
                ratios = [0.5 * (d[item - 1] - d[items[kept] - 1]) for item in negatives]
                margin = -math.log(sum(map(math.exp, ratios)))
                losses.append(-math.log(1 / (1 + math.exp(-margin))))
    assert len(losses) >= 3
    assert found == pytest.approx(np.mean(losses), abs=1e-4)


def test_a_second_stage_begins_where_the_first_ended(tmp_path):
    sessions = toy_sessions(16)
    first = with_random_weights(build("sasrec"))
    term = keras_negrec.models.feedback.Preference(weight=1.0, reference=first)
    second = keras_negrec.models.with_feedback(first, [term])
    np.testing.assert_allclose(second.score(sessions), first.score(sessions), atol=1e-6)
    before = first.get_weights()
    history = fit(second, sessions, epochs=3)
    assert history["preference_loss"][-1] < history["preference_loss"][0]
    np.testing.assert_equal(first.get_weights(), before)  # the reference is not moved
    assert len(second.trainable_variables) == len(first.trainable_variables)  # nor its copy
    second.save(tmp_path / "second.keras")
    loaded = keras.saving.load_model(tmp_path / "second.keras")
    np.testing.assert_allclose(loaded.score(sessions), second.score(sessions), atol=1e-6)
    again = fit(loaded, sessions)
    assert np.isfinite(again["preference_loss"]).all()


def test_a_second_stage_predicts_what_the_first_did():
    first = build("sasrec", negative_loss="keep")
    stages = [
        keras_negrec.models.with_feedback(first, terms)
        for terms in ([], [keras_negrec.models.feedback.NotToRecommend()])
    ]
    assert [stage.target for stage in stages] == ["next", "next_positive"]


def test_a_reference_that_does_not_fit():
    other = keras_negrec.build_model("sasrec", num_items=3)
    with pytest.raises(ValueError, match=f"know the same {NUM_ITEMS} items. Received one of 3"):
        build("sasrec", negative_loss="preference", reference=other)
    other = build("sasrec", feedback_inputs=True)
    with pytest.raises(ValueError, match="reads the event column `feedback`, which the model does"):
        build("sasrec", negative_loss="preference", reference=other)
    for name, other in (("sasrec", "bert4rec"), ("bert4rec", "gru4rec")):
        with pytest.raises(ValueError, match=r"sees what the model must predict\. Received a ref"):
            build(name, negative_loss="preference", reference=build(other))
    with pytest.raises(ValueError, match=r"must be above 0\. Received: beta=0"):
        keras_negrec.models.feedback.Preference(beta=0)


# The ranking that comes of a term

HISTORIES = toy_sessions(5)
KEEP = {"negative_loss": "keep"}


def keep_biases(model):
    return 4 * numpy(model.get_layer("keep_logit").item_bias)


@pytest.mark.parametrize("context_dim", [None, 3])
@pytest.mark.parametrize("name", ENCODERS)
def test_score_is_what_is_shown_plus_what_is_kept(name, context_dim, tmp_path):
    model = with_random_weights(build(name, **KEEP, keep_weight=0.0, context_dim=context_dim))
    shown = model.score(HISTORIES)
    inputs = {key: HISTORIES.padded(8)[key] for key in model.serving_model.input}
    vectors = numpy(model.serving_model(inputs))[:, :8]
    table = numpy(model.item_embedding.table())
    np.testing.assert_allclose(shown, vectors @ table.T, atol=1e-4)
    model.set_ranking_weights(keep=1.5)
    kept = keep_logits(model, vectors)
    np.testing.assert_allclose(model.score(HISTORIES), shown + 1.5 * kept, atol=1e-4)
    assert model.item_vectors().shape == (NUM_ITEMS, 10 + (context_dim or 0))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.ranking_weights == {"keep": 1.5}
    np.testing.assert_allclose(loaded.score(HISTORIES), model.score(HISTORIES), atol=1e-6)


@pytest.mark.parametrize("name", ENCODERS)
def test_score_is_that_of_the_next_item_plus_the_projected_similarity(name, tmp_path):
    options = {"negative_loss": "contrastive", "projection_dim": 5, "temperature": 0.2}
    model = with_random_weights(build(name, **options, contrastive_weight=0.0))
    plain = model.score(HISTORIES)
    vectors = model.history_vectors(HISTORIES)[:, :8]
    project, project_items = projections(model)
    table = numpy(model.item_embedding.table())
    similarity = project(vectors) @ project_items(table).T / 0.2
    model.set_ranking_weights(contrastive=0.7)
    np.testing.assert_allclose(model.score(HISTORIES), plain + 0.7 * similarity, atol=1e-4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.ranking_weights == {"contrastive": 0.7}
    np.testing.assert_allclose(loaded.score(HISTORIES), model.score(HISTORIES), atol=1e-5)


@pytest.mark.parametrize("options", [{"context": "item"}, {"similarity": "dot"}])
def test_what_cannot_be_projected(options):
    with pytest.raises(ValueError, match=r"`projection_dim` goes with context=.*Received: con"):
        keras_negrec.models.feedback.Contrastive(projection_dim=8, **options)


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
    assert build(negative_loss="contrastive").target == "next_positive"
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
