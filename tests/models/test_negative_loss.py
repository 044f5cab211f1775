"""The negative-feedback loss of whole models, against its definition."""

import math

import keras
import numpy as np
import pytest
from keras import ops

import keras_negrec
from keras_negrec.data import Sessions

NUM_ITEMS = 12


def random_sessions(with_sessions):
    """Rows of several lengths, some all skipped, some all kept, some of one event."""
    random = np.random.default_rng(1)
    lengths = [6, 8, 5, 1, 7, 3, 8, 4]
    kept_share = [0.5, 0.5, 0.0, 0.0, 1.0, 0.5, 0.7, 0.4]
    items = [random.integers(1, NUM_ITEMS + 1, n).tolist() for n in lengths]
    feedback = [
        np.where(
            random.random(n) < share, random.integers(1, 3, n), random.integers(-2, 1, n)
        ).tolist()
        for n, share in zip(lengths, kept_share, strict=True)
    ]
    session_ids = [(np.arange(n) // 4).tolist() for n in lengths] if with_sessions else None
    return Sessions.from_lists(items, feedback, session_ids)


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def loss_of_context(context, positive, negatives, table, temperature):
    """L_NCE(i), written from its definition; items are ids."""
    of_positive = math.exp(cosine(context, table[positive]) / temperature)
    rest = sum(math.exp(cosine(context, table[n]) / temperature) for n in negatives)
    return -math.log(of_positive / (of_positive + rest))


@pytest.mark.parametrize("with_sessions", [False, True])
@pytest.mark.parametrize("context", ["hidden", "item"])
@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_against_the_definition(name, context, with_sessions):
    model = keras_negrec.build_model(
        name,
        num_items=NUM_ITEMS,
        max_length=8,
        embedding_dim=8,
        num_layers=1,
        dropout=0.0,
        negative_loss=True,
        context=context,
        temperature=0.2,
        max_sessions=2 if with_sessions else None,
    )
    table = np.random.default_rng(0).normal(size=(NUM_ITEMS, 8)).astype("float32")
    model.item_embedding.embeddings.assign(table)
    table = {item: table[item - 1] for item in range(1, NUM_ITEMS + 1)}
    sessions = random_sessions(with_sessions)
    if name == "bert4rec":  # rows as they are: the last event's case is tested elsewhere
        model.encoder.last_probability = 0.0
    [(x, y, weight)] = model.training_dataset(sessions, batch_size=99, shuffle=False)
    x = {key: values.numpy() for key, values in x.items()}
    similarities = ops.convert_to_numpy(model(x)["contrastive"])
    found = float(
        model.loss["contrastive"](
            y["contrastive"].numpy(), similarities, weight["contrastive"].numpy()
        )
    )

    graph = keras.Model(model.input, model.get_layer("prediction_head").output)
    predictions = ops.convert_to_numpy(graph(x))
    length = x["candidate_ids"].shape[1]
    losses = []
    for row in range(len(sessions)):
        one = sessions.take([row])
        items, values = one.item_ids.tolist(), one.feedback.tolist()
        ids = [0] * len(items) if one.session_ids is None else one.session_ids.tolist()
        offset = length - len(items)  # padding on the left
        slots = np.flatnonzero(weight["next_item"].numpy()[row])
        if context == "item":
            contexts = [(i, table[items[i]]) for i in range(len(items))]
        else:
            contexts = [
                (x["target_positions"][row, slot] - offset, predictions[row, slot])
                for slot in slots
            ]
        for i, vector in contexts:
            if name == "bert4rec" and context == "hidden":
                assert x["item_ids"][row, i + offset] == model.mask_id
                later = [i]  # the masked item itself
            else:
                later = [j for j in range(i + 1, len(items)) if values[j] > 0 and ids[j] == ids[i]]
            if not later:
                continue
            positive = items[later[0]]
            negatives = [
                items[j]
                for j in range(len(items))
                if values[j] < 0 and ids[j] == ids[i] and items[j] != positive
            ]
            if negatives:
                losses.append(loss_of_context(vector, positive, negatives, table, 0.2))
    assert len(losses) >= 3
    assert found == pytest.approx(np.mean(losses), abs=1e-4)


@pytest.mark.parametrize("name", ["sasrec", "bert4rec", "gru4rec", "caser"])
def test_not_to_recommend_against_the_definition(name):
    model = keras_negrec.build_model(
        name,
        num_items=NUM_ITEMS,
        max_length=8,
        embedding_dim=8,
        dropout=0.0,
        negative_loss="not_to_recommend",
    )
    table = np.random.default_rng(0).normal(size=(NUM_ITEMS, 8)).astype("float32")
    model.item_embedding.embeddings.assign(table)
    if name == "bert4rec":
        model.encoder.last_probability = 0.0
    sessions = random_sessions(with_sessions=False)
    [(x, y, weight)] = model.training_dataset(sessions, batch_size=99, shuffle=False)
    x, y, weight = (
        {key: values.numpy() for key, values in part.items()} for part in (x, y, weight)
    )
    logits = ops.convert_to_numpy(model(x)["not_to_recommend"])
    found = float(
        model.loss["not_to_recommend"](y["not_to_recommend"], logits, weight["not_to_recommend"])
    )
    length = x["item_ids"].shape[1]
    losses = []
    for row in range(len(sessions)):
        one = sessions.take([row])
        items, values = one.item_ids.tolist(), one.feedback.tolist()
        for slot, position in enumerate(x["target_positions"][row]):
            i = position - (length + model.encoder.causal - len(items))  # padding on the left
            if name == "bert4rec":
                asked = i >= 0 and x["item_ids"][row, position] == model.mask_id
                skipped = items[i] if asked and values[i] < 0 else None
            else:
                asked = 0 <= i < len(items) - 1
                skipped = items[i + 1] if asked and values[i + 1] < 0 else None
            counts = weight["not_to_recommend"][row, slot] == 1
            if skipped is None or not counts:
                assert not counts or position == 0
                continue
            exponentials = np.exp(logits[row, slot].astype("float64"))
            losses.append(-math.log(1 - exponentials[skipped - 1] / exponentials.sum()))
    assert len(losses) >= 3
    if name != "bert4rec":  # every skip after another event is there
        assert len(losses) == sum(
            sum(v < 0 for v in sessions.take([row]).feedback.tolist()[1:])
            for row in range(len(sessions))
        )
    assert found == pytest.approx(np.mean(losses), abs=1e-4)
