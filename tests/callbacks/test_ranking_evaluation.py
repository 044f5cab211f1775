import keras
import numpy as np
import pytest
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec
from keras_negrec.callbacks import RankingEvaluation
from keras_negrec.data import Examples, Sessions, leave_one_out
from keras_negrec.models import Popularity


@pytest.fixture(scope="module")
def split():
    return leave_one_out(toy_sessions(48, length=16))


def test_in_fit(split):
    small = {"max_length": 15, "embedding_dim": 8, "num_layers": 1, "dropout": 0.0}
    model = keras_negrec.build_model("sasrec", num_items=NUM_ITEMS, **small)
    options = {"k": (1, 5), "exclude_seen": False}
    ranking = RankingEvaluation(split.validation, every=2, monitor="mrr", patience=2, **options)
    # It learns, and then what it learned is ruined.
    rates = keras.callbacks.LearningRateScheduler(lambda epoch: 1.0 if epoch == 5 else 0.03)
    seen = []
    later = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append({**logs}))
    fit = {"epochs": 20, "shuffle": False, "verbose": 0, "callbacks": [rates, ranking, later]}
    history = model.fit(model.training_dataset(split.train, batch_size=16), **fit).history
    values = history["val_mrr"]
    assert [logs["val_mrr"] for logs in seen] == values
    assert {"val_hr@1", "val_hr@5", "val_ndcg@5", "val_feedback_auc"} <= set(history)
    assert not any("num_" in name for name in history)
    assert len(values) < 20 and values[-1] < max(values)  # stopped when it fell
    assert ranking.best == max(values) == values[ranking.best_epoch]
    assert ranking.best_epoch % 2 == 0
    metrics = keras_negrec.evaluate(model, split.validation, **options)
    assert metrics == pytest.approx(ranking.metrics, abs=1e-6)  # need not be ranked again


class Planned:
    """A stand-in for a model: at each evaluation the targets get the next rank of a plan.

    Its one weight is the epoch, as the training loop below sets it.
    """

    num_items = NUM_ITEMS

    def __init__(self, targets, ranks):
        self.targets, self.ranks = targets, list(ranks)
        self.stop_training = False
        self.weights = None

    def score(self, histories):
        rank = self.ranks.pop(0)
        scores = np.zeros((len(histories), NUM_ITEMS))
        for row, target in enumerate(self.targets[histories.keys]):
            order = [item for item in range(1, NUM_ITEMS + 1) if item != target]
            order.insert(rank - 1, target)
            scores[row, np.array(order) - 1] = -np.arange(NUM_ITEMS)
        return scores

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights


def train(callback, model, epochs):
    """The calls that `fit` makes; returns the logs of each epoch."""
    callback.set_params({"epochs": epochs})
    callback.set_model(model)
    callback.on_train_begin()
    history = []
    for epoch in range(epochs):
        model.weights = epoch
        history.append({"loss": 1.0})
        callback.on_epoch_end(epoch, history[-1])
        if model.stop_training:
            break
    callback.on_train_end()
    return history


def planned(ranks, **arguments):
    """A callback, and a model that it gives each of the ranks in turn."""
    targets = np.array([3, 5, 7])
    examples = Examples(Sessions.from_lists([[1]] * 3), targets, np.array([0, 2, 0]))
    callback = RankingEvaluation(examples, exclude_seen=False, **arguments)
    return callback, Planned(targets, ranks)


def test_patience_counts_evaluations_in_a_row():
    # Evaluated: epochs 0, 3, 6, 9, 12, 15, 18.
    callback, model = planned([3, 4, 2, 5, 6, 9, 9, 9], monitor="mrr", patience=2, every=3)
    history = train(callback, model, epochs=100)
    assert len(history) == 13
    assert callback.best_epoch == model.weights == 6
    expected = [1 / 3] * 3 + [1 / 4] * 3 + [1 / 2] * 2
    assert [logs["val_mrr"] for logs in history[:8]] == pytest.approx(expected)


def test_the_last_epoch_is_evaluated():
    callback, model = planned([5, 4, 2], monitor="ndcg@10", every=4)
    history = train(callback, model, epochs=7)  # evaluated: 0, 4, 6
    assert model.ranks == []
    assert callback.best_epoch == model.weights == 6
    assert [logs["val_mrr"] for logs in history[3:]] == pytest.approx([1 / 5, 1 / 4, 1 / 4, 1 / 2])

    model.ranks, model.stop_training = [1], True  # that of an early stop
    callback.set_params({"epochs": 20})
    callback.on_epoch_end(8, {})
    assert callback.best_epoch == 8


def test_lower_is_better_for_skips():
    # The skipped item of the second example, item 2, has rank 2, or 3 if the target is above.
    callback, model = planned([5, 1, 1, 5], monitor="skip_mrr", patience=2)
    train(callback, model, epochs=10)
    assert callback.best == pytest.approx(1 / 3)
    assert callback.best_epoch == model.weights == 1


def test_finding_nothing_is_no_evaluation_of_the_kept_share():
    callback, model = planned([5, 5, 1, 5], monitor="kept_share@1", k=(1,), patience=2)
    history = train(callback, model, epochs=4)
    assert [logs["val_kept_share@1"] for logs in history] == pytest.approx(
        [np.nan, np.nan, 1, np.nan], nan_ok=True
    )
    assert (callback.best, callback.best_epoch, model.weights) == (1, 2, 2)


def test_weights_can_be_left_as_they_are():
    callback, model = planned([2, 5, 4], monitor="mrr", patience=2, restore_best_weights=False)
    train(callback, model, epochs=10)
    assert (callback.best_epoch, model.weights) == (0, 2)
    assert callback.metrics["mrr"] == pytest.approx(1 / 4)  # those of the weights it ends with


def test_can_be_used_for_several_fits():
    callback, model = planned([1, 2, 3, 2, 4, 5, 6], monitor="mrr", patience=2, every=2)
    train(callback, model, epochs=3)
    assert callback.best == 1
    model.ranks = [3, 2, 4]
    train(callback, model, epochs=5)
    assert callback.best == pytest.approx(1 / 2)
    assert callback.best_epoch == 2


@pytest.mark.parametrize("name", ["every", "patience"])
def test_must_be_positive(split, name):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
        RankingEvaluation(split.validation, **{name: 0})


@pytest.mark.parametrize(
    ("monitor", "targets", "skips"),
    [
        *[(monitor, [2], [3]) for monitor in ("num_examples", "val_mrr", "ndcg@7", "loss", 3)],
        ("skip_mrr", [2, 3], [0, 0]),
        ("feedback_auc", [2, 0], [0, 3]),  # no example has both
        ("kept_share@10", [2, 0], [0, 3]),
        ("mrr", [0], [3]),
    ],
)
def test_monitor_must_be_a_metric_of_the_examples(monitor, targets, skips):
    histories = Sessions.from_lists([[1]] * len(targets))
    examples = Examples(histories, np.array(targets), np.array(skips))
    with pytest.raises(ValueError, match=r"`monitor` must be one of .* Received: monitor="):
        RankingEvaluation(examples, k=(10,), monitor=monitor)


@pytest.mark.parametrize("monitor", ["coverage@10", "feedback_auc", "skip_hr@10", "map@10"])
def test_every_metric_can_be_monitored(split, monitor):
    callback = RankingEvaluation(split.validation, monitor=monitor, restore_best_weights=False)
    assert (callback.best, callback.best_epoch) == (None, None)
    callback.set_model(Popularity(split.train, NUM_ITEMS))
    callback.on_train_begin()
    logs = {}
    callback.on_epoch_end(0, logs)
    assert (callback.best, callback.best_epoch) == (logs[f"val_{monitor}"], 0)


def test_metrics_that_rest_on_nothing_are_left_out():
    split = leave_one_out(Sessions.from_lists([[1, 2, 3, 4]] * 4))
    callback = RankingEvaluation(split.validation)
    callback.set_model(Popularity(split.train, 4))
    logs = {}
    callback.on_epoch_end(0, logs)
    assert "val_hr@10" in logs
    assert not [name for name in logs if "skip" in name or "feedback" in name]
