"""The losses of feedback terms in whole models, against their definitions."""

import math

import numpy as np
import pytest
from small_models import ENCODERS, batch_of, build, layer_outputs, numpy, random_sessions, rows_of
from toy_sessions import NUM_ITEMS


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


@pytest.mark.parametrize("with_sessions", [False, True])
@pytest.mark.parametrize("context", ["hidden", "item"])
@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_contrastive(name, context, with_sessions):
    sessions = random_sessions(with_sessions)
    model, x, weight, outputs, found = trained_on(
        name,
        "contrastive",
        sessions,
        context=context,
        temperature=0.2,
        max_sessions=2 if with_sessions else None,
    )
    table = np.concatenate([np.zeros((1, 8)), numpy(model.item_embedding.embeddings)])
    length = x["candidate_ids"].shape[1]
    losses = []
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


@pytest.mark.parametrize("num_sampled_negatives", [None, 4])
@pytest.mark.parametrize("name", ENCODERS)
def test_keep(name, num_sampled_negatives):
    sessions = random_sessions()
    options = {"num_sampled_negatives": num_sampled_negatives}
    model, x, weight, outputs, found = trained_on(name, "keep", sessions, **options)
    bias = numpy(model.get_layer("keep_logit").keep_biases())
    kernel, offset = map(numpy, model.get_layer("keep_logit").dense.weights)
    losses = []
    for row, (items, values, _) in enumerate(rows_of(sessions)):
        for slot in np.flatnonzero(weight["next_item"][row]):
            # The inputs of a causal model lack the last column, and it predicts the next event.
            shown = x["target_positions"][row, slot] - (x["item_ids"].shape[1] - len(items))
            if values[shown] == 0:
                assert weight["keep"][row, slot] == 0
                continue
            prediction = outputs["predictions"][row, slot]
            logit = prediction @ kernel[:, 0] + offset[0] + bias[items[shown] - 1]
            probability = 1 / (1 + math.exp(-logit))
            losses.append(-math.log(probability if values[shown] > 0 else 1 - probability))
    assert len(losses) >= 5
    assert len(losses) == weight["keep"].sum()
    assert found == pytest.approx(np.mean(losses), abs=1e-5)
