import numpy as np
import pytest
from table_scorer import TableScorer

import keras_negrec
from keras_negrec.callbacks import RankingEvaluation
from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import (
    Metrics,
    evaluate_sampled,
    register_metric,
    unregister_metric,
)

NUM_EXAMPLES = 60


@pytest.fixture
def burial():
    """Made up: how deep the next skipped item is buried; lower is said to be better."""
    yield register_metric(
        "burial@K",
        lambda skip_rank, k: np.minimum(skip_rank, k) / k,
        label="how deep the next skipped item is buried, of the first K",
        needs="skip_target",
        higher_is_better=False,
        title="burial",
    )
    unregister_metric("burial@K")


@pytest.fixture
def examples():
    sessions = Sessions.from_lists([[1]] * NUM_EXAMPLES)
    return Examples(sessions, np.full(NUM_EXAMPLES, 2), np.arange(NUM_EXAMPLES) % 2 * 3)


def scorer(skip_score):
    return TableScorer(np.tile([0, 5, skip_score, 4, 3, 2, 1], (NUM_EXAMPLES, 1)))


def test_one_registration_reaches_evaluation(burial, examples):
    metrics = keras_negrec.evaluate(scorer(3.5), examples, k=(2, 10))
    assert (metrics["burial@2"], metrics["burial@10"]) == pytest.approx((1, 0.3))
    printed = [line.split() for line in repr(metrics).splitlines()]
    assert ["burial", "1.0000", "0.3000", "lower"] in printed
    sampled = evaluate_sampled(scorer(3.5), examples, k=(10,))
    assert sampled["sampled_burial@10"] == metrics["burial@10"]


def test_one_registration_reaches_the_callback(burial, examples):
    callback = RankingEvaluation(examples, monitor="burial@10", patience=2)
    callback.set_params({"epochs": 9})
    callback.set_model(scorer(3.5))
    callback.on_train_begin()
    callback.model.get_weights = callback.model.set_weights = lambda *weights: []
    for epoch, skip_score in enumerate([3.5, 9, 1.5, 0.5]):  # ranks 3, 1, 5, 6
        callback.model.scores = scorer(skip_score).scores
        callback.on_epoch_end(epoch, {})
    assert (callback.best, callback.best_epoch) == (pytest.approx(0.1), 1)
    assert callback.metrics["burial@10"] == callback.best
    assert callback.model.stop_training


def test_one_registration_reaches_comparison_and_report(burial, examples, tmp_path):
    ready = {"old": scorer(0.5), "new": scorer(9)}
    comparison = keras_negrec.compare(None, {}, examples, folder=tmp_path, scorers=ready)
    row = comparison.table().loc[("new", "burial@10")]
    assert (row["mean"], row["difference"]) == pytest.approx((0.1, -0.5))
    assert row["num_examples"] == NUM_EXAMPLES // 2
    [line] = [line for line in str(comparison).splitlines() if line.startswith("burial@10     new")]
    assert line.split()[2:5] == ["0.1000", "-0.5000", "-0.5000"] and line.endswith("lower")
    report = comparison.report(tmp_path / "report").with_suffix(".md").read_text("utf-8")
    rows = [line.split(" | ") for line in report.splitlines() if "| burial@10 |" in line]
    assert [row[4] for row in rows if row[0] == "| new"] == ["better"]


def test_one_number_for_all_examples(examples):
    register_metric(
        "first_item",
        lambda top_items, num_items: top_items[:, 0].mean() / num_items,
        label="mean id of the first item, as a share of the catalogue",
        needs=("top_items", "num_items"),
    )
    try:
        assert keras_negrec.evaluate(scorer(9), examples)["first_item"] == pytest.approx(3 / 7)
    finally:
        unregister_metric("first_item")
    assert "first_item" not in keras_negrec.evaluate(scorer(9), examples)


@pytest.mark.parametrize(
    ("name", "needs", "message"),
    [
        ("Hit rate", ["target"], "`name` must be of the kind .* Received: name='Hit rate'"),
        ("num_hits", ["target"], "`name` must be of the kind"),
        ("hr@K", ["target"], "`name` must not be one of .*'hr@K'"),
        ("mine", ["rank"], "`needs` must be one of 'target', .* Received: needs='rank'"),
    ],
)
def test_refuses(name, needs, message):
    with pytest.raises(ValueError, match=message):
        register_metric(name, len, label="", needs=needs)


def test_metrics_print_as_a_table_that_fits():
    metrics = Metrics({f"hr@{k}": 1 / k for k in range(1, 15)}, num_examples=12345.0)
    metrics |= {"skip_mrr": float("nan"), "sampled_skip_hr@5": 0.5}
    lines = repr(metrics).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == ["hr", "1.0000", "0.5000", "0.3333", "0.2500", "0.2000", "higher"]
    assert lines[-1].split() == ["hr", "0.0833", "0.0769", "0.0714", "higher"]
    assert "num_examples 12,345" in " ".join(repr(metrics).split())
    assert "skip_mrr - lower" in " ".join(repr(metrics).split())
    assert metrics == dict(metrics) and dict(metrics)["hr@2"] == 0.5
