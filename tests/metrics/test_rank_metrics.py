import math

import keras
import numpy as np
import pytest
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec
from keras_negrec.losses import NegativeFeedbackContrastive
from keras_negrec.metrics import MRR, NDCG, FeedbackAUC, HitRate

SHAPE = (2, 3, 4)  # one shape, because JAX compiles for each


def reference(name, k, batches):
    """The weighted mean over all targets of all batches, target by target."""
    total = count = 0.0
    for y_true, y_pred, weight in batches:
        for slot in np.ndindex(np.shape(y_pred)[:2]):
            scores, own = y_pred[slot], int(y_true[slot])
            rank = 1.0
            for other, score in enumerate(scores):
                if other != own:
                    rank += 1.0 * (score > scores[own]) + 0.5 * (score == scores[own])
            worth = {"hr": 1.0, "ndcg": 1 / math.log2(1 + rank), "mrr": 1 / rank}[name]
            total += weight[slot] * worth * (rank <= (k or math.inf))
            count += weight[slot]
    return total / count if count else 0.0


METRICS = [("hr", HitRate, 2), ("ndcg", NDCG, 3), ("mrr", MRR, None), ("mrr", MRR, 2)]


def random_batch(seed, shape=SHAPE):
    random = np.random.default_rng(seed)
    return (
        random.integers(0, shape[-1], shape[:2]),
        random.integers(0, 4, shape).astype("float32"),  # with ties
        random.integers(0, 3, shape[:2]).astype("float32"),
    )


@pytest.mark.parametrize(("name", "metric", "k"), METRICS)
def test_every_target_weighs_the_same_whatever_its_batch(name, metric, k):
    shapes = [(2, 8, 4), (5, 1, 4), *[SHAPE] * 10]
    batches = [random_batch(seed, shape) for seed, shape in enumerate(shapes)]
    metric = metric(k=k)
    for batch in batches:
        metric.update_state(*batch)
    assert float(metric.result()) == pytest.approx(reference(name, k, batches), abs=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0
    for y_true, y_pred, _ in batches:
        metric.update_state(y_true, y_pred)
    unweighted = [(y_true, y_pred, np.ones_like(weight)) for y_true, y_pred, weight in batches]
    assert float(metric.result()) == pytest.approx(reference(name, k, unweighted), abs=1e-6)


def test_shapes_of_labels_and_weights():
    y_true, y_pred, _ = random_batch(3)
    of_rows = np.array([2.0, 1.0], "float32")
    expected = reference("mrr", None, [(y_true, y_pred, np.repeat(of_rows[:, None], 3, axis=1))])
    for labels in (y_true, y_true[..., np.newaxis], y_true.astype("float32")):
        assert float(MRR()(labels, y_pred, of_rows)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nan_is_no_hit(dtype):
    metric = HitRate(k=4)
    logits = [[[math.nan] * 4, [1.0, 0.0, 0.0, math.nan]]]
    metric.update_state([[0, 1]], keras.ops.cast(logits, dtype))
    assert float(metric.result()) == 0.5  # rank 3.5 of the second


def reference_auc(batches):
    total = count = 0.0
    for labels, similarities, weight in batches:
        for slot in np.ndindex(labels.shape[:2]):
            label, similarity = labels[slot], similarities[slot]
            own = [s for s, kind in zip(similarity, label, strict=True) if kind == 1]
            negatives = [s for s, kind in zip(similarity, label, strict=True) if kind == 0]
            if own and negatives:
                below = sum(1.0 * (s < own[0]) + 0.5 * (s == own[0]) for s in negatives)
                total += weight[slot] * below / len(negatives)
                count += weight[slot]
    return total / count if count else 0.0


def random_feedback(seed, shape):
    """Contexts with a positive or none, and with negatives or none."""
    random = np.random.default_rng(seed)
    labels = random.integers(-1, random.integers(0, 2, (*shape[:2], 1)) + 0.5, shape)
    positives = random.integers(-1, shape[-1], shape[:2])
    labels = np.where(np.arange(shape[-1]) == positives[..., np.newaxis], 1, labels)
    similarities = random.integers(-2, 3, shape) / 2
    weight = random.integers(0, 3, shape[:2]).astype("float32")
    return labels.astype("int8"), similarities.astype("float32"), weight


def test_feedback_auc_against_a_loop():
    shapes = [(2, 6, 5), (4, 1, 5), *[(2, 3, 5)] * 20]
    batches = [random_feedback(seed, shape) for seed, shape in enumerate(shapes)]
    metric = FeedbackAUC()
    for batch in batches:
        metric.update_state(*batch)
    assert float(metric.result()) == pytest.approx(reference_auc(batches), abs=1e-6)
    metric.reset_state()
    metric.update_state(np.full(SHAPE, -1, "int8"), np.zeros(SHAPE, "float32"))
    assert float(metric.result()) == 0


@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_in_fit(name, tmp_path):
    small = {"max_length": 12, "embedding_dim": 8, "num_layers": 1, "dropout": 0.0}
    model = keras_negrec.build_model(
        name, num_items=NUM_ITEMS, negative_loss="contrastive", **small
    )
    model.compile(
        keras.optimizers.SGD(0.0),  # so that the weights are the same all along
        loss={
            "next_item": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "contrastive": NegativeFeedbackContrastive(),
        },
        weighted_metrics={
            "next_item": [HitRate(k=2), NDCG(k=5), MRR()],
            "contrastive": [FeedbackAUC()],
        },
    )
    # One batch as arrays, because a cloze dataset draws other masks each time it is iterated.
    [batch] = model.training_dataset(toy_sessions(20), batch_size=20)
    x, y, weight = ({key: part[key].numpy() for key in part} for part in batch)
    options = {"batch_size": 10, "verbose": 0}
    history = model.fit(x, y, sample_weight=weight, shuffle=False, **options).history
    y_pred = model.predict(x, **options)
    assert (weight["next_item"] == 0).any()  # unused slots
    parts = y["next_item"], y_pred["next_item"], weight["next_item"]
    for figure, k in [("hr@2", 2), ("ndcg@5", 5), ("mrr", None)]:
        expected = reference(figure.partition("@")[0], k, [parts])
        assert history[f"next_item_{figure}"] == pytest.approx([expected], abs=1e-5)
    parts = y["contrastive"], y_pred["contrastive"], weight["contrastive"]
    auc = history["contrastive_feedback_auc"]
    assert auc == pytest.approx([reference_auc([parts])], abs=1e-5) and 0 < auc[0] < 1

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    figures = again.evaluate(x, y, sample_weight=weight, return_dict=True, **options)
    assert figures == pytest.approx({name: values[0] for name, values in history.items()}, rel=1e-4)
