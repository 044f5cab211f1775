import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_scorer import TableScorer

import keras_negrec
from keras_negrec.callbacks import RankingEvaluation
from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import (
    Metrics,
    evaluate_sampled,
    example_metrics,
    rank_targets,
    ranking_metrics,
    register_metric,
    unregister_metric,
)

RANDOM = np.random.default_rng(3)
SCORER = TableScorer(RANDOM.normal(size=(20, 12)))
SESSIONS = Sessions.from_lists(RANDOM.integers(1, 13, (20, 3)).tolist())
EXAMPLES = Examples(SESSIONS, RANDOM.integers(1, 13, 20), RANDOM.integers(0, 3, 20))


def test_means_of_the_examples():
    ranks = rank_targets(SCORER, EXAMPLES, top_k=12)
    metrics, values = ranking_metrics(ranks, k=(2, 50)), example_metrics(ranks, k=(2, 50))
    assert set(metrics) == {*values, "num_examples", "num_skip_examples"}
    for name, of_examples in values.items():
        rest = [value for value in of_examples if not math.isnan(value)]
        assert metrics[name] == pytest.approx(sum(rest) / len(rest))
    assert metrics["num_skip_examples"] == sum(~np.isnan(values["skip_mrr"])) < 20
    with_coverage = ranking_metrics(ranks, k=(2, 50), num_items=12)
    assert with_coverage == keras_negrec.evaluate(SCORER, EXAMPLES, k=(2, 50))
    assert set(with_coverage) - set(metrics) == {"coverage@2", "coverage@50"}


def test_cut_offs_are_positive_and_among_the_first_items():
    ranks = rank_targets(SCORER, EXAMPLES, top_k=5)
    with pytest.raises(ValueError, match=r"beyond the 5 first items .* Received: k=\(2, 6\)"):
        ranking_metrics(ranks, k=(2, 6), num_items=12)
    with pytest.raises(ValueError, match=r"`k` must be a positive integer. Received: k=0"):
        example_metrics(ranks, k=(5, 0))


def test_no_examples_give_nan():
    empty = np.zeros(0)
    metrics = ranking_metrics({"target": empty, "skip_target": empty, "preference": empty}, k=(1,))
    assert metrics.pop("num_examples") == metrics.pop("num_skip_examples") == 0
    assert all(math.isnan(value) for value in metrics.values())


def reference(target, skip, preference, k):
    """The metrics of one example, by their definitions."""
    values = {"mrr": 1 / target, "feedback_auc": preference}
    values["skip_mrr"] = math.nan if math.isnan(skip) else 1 / skip
    for cutoff in k:
        hit = target <= cutoff
        values[f"hr@{cutoff}"] = 1.0 if hit else 0.0
        values[f"ndcg@{cutoff}"] = 1 / math.log2(1 + target) if hit else 0.0
        values[f"mrr@{cutoff}"] = values[f"map@{cutoff}"] = 1 / target if hit else 0.0
        kept_share = 0.5 if hit and skip <= cutoff else float(hit)
        found = not math.isnan(skip) and (hit or skip <= cutoff)
        values[f"kept_share@{cutoff}"] = kept_share if found else math.nan
        values[f"skip_hr@{cutoff}"] = math.nan if math.isnan(skip) else float(skip <= cutoff)
    return values


RANKS = st.sampled_from([1.0, 1.5, 2.0, 3.0, 10.0, 10.5, 99.0, math.inf])
SKIPS = st.none() | st.tuples(RANKS, st.sampled_from([0.0, 0.5, 1.0]))


@given(st.lists(st.tuples(RANKS, SKIPS), max_size=5), st.lists(st.integers(1, 20), max_size=3))
def test_examples_against_the_definitions(examples, k):
    rows = [(target, *(skip or (math.nan, math.nan))) for target, skip in examples]
    columns = np.array(rows).reshape(-1, 3).T
    ranks = dict(zip(("target", "skip_target", "preference"), columns, strict=True))
    values = example_metrics(ranks, k=k)
    for cutoff in {*k}:
        for name in ("hr", "ndcg"):  # of those with a skip and those without alike
            gains = [
                [reference(rank, rank, 0.5, k)[f"{name}@{cutoff}"] for rank in column[known]]
                for column, known in zip(columns[:2], ~np.isnan(columns[:2]), strict=True)
            ]
            means = [np.mean(each) if each else math.nan for each in gains]
            found = values.pop(f"{name}_difference@{cutoff}")
            mean = np.mean(found) if len(found) else math.nan
            assert mean == pytest.approx(means[0] - means[1], abs=1e-12, nan_ok=True)
    assert set(values) == set(reference(1.0, 1.0, 1.0, k))
    for name, of_examples in values.items():
        assert of_examples.dtype == "float64" and of_examples.shape == (len(rows),)
        expected = [reference(*row, k)[name] for row in rows]
        np.testing.assert_allclose(of_examples, expected, rtol=1e-12)


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


OWN = Examples(Sessions.from_lists([[1]] * 60), np.full(60, 2), np.arange(60) % 2 * 3)


def scorer(skip_score):
    return TableScorer(np.tile([0, 5, skip_score, 4, 3, 2, 1], (60, 1)))


def test_one_registration_reaches_evaluation(burial):
    metrics = keras_negrec.evaluate(scorer(3.5), OWN, k=(2, 10))
    assert (metrics["burial@2"], metrics["burial@10"]) == pytest.approx((1, 0.3))
    assert "burial 1.0000 0.3000 lower" in " ".join(repr(metrics).split())
    sampled = evaluate_sampled(scorer(3.5), OWN, k=(10,))
    assert sampled["sampled_burial@10"] == metrics["burial@10"]


def test_one_registration_reaches_the_callback(burial):
    callback = RankingEvaluation(OWN, monitor="burial@10", patience=2)
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


def test_one_registration_reaches_comparison_and_report(burial, tmp_path):
    ready = {"old": scorer(0.5), "new": scorer(9)}
    comparison = keras_negrec.compare(None, {}, OWN, folder=tmp_path, scorers=ready)
    row = comparison.table().loc[("new", "burial@10")]
    assert (row["mean"], row["difference"]) == pytest.approx((0.1, -0.5))
    assert row["num_examples"] == 30
    [line] = [line for line in str(comparison).splitlines() if line.startswith("burial@10     new")]
    assert line.split()[2:5] == ["0.1000", "-0.5000", "-0.5000"] and line.endswith("lower")
    report = comparison.report(tmp_path / "report").with_suffix(".md").read_text("utf-8")
    assert "| new | burial@10 | better |" in report


def test_one_number_for_all_examples():
    register_metric(
        "first_item",
        lambda top_items, num_items: top_items[:, 0].mean() / num_items,
        label="mean id of the first item, as a share of the catalogue",
        needs=("top_items", "num_items"),
    )
    try:
        assert keras_negrec.evaluate(scorer(9), OWN)["first_item"] == pytest.approx(3 / 7)
    finally:
        unregister_metric("first_item")
    assert "first_item" not in keras_negrec.evaluate(scorer(9), OWN)


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
    lines, words = repr(metrics).splitlines(), " ".join(repr(metrics).split())
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == ["hr", "1.0000", "0.5000", "0.3333", "0.2500", "0.2000", "higher"]
    assert lines[-1].split() == ["hr", "0.0833", "0.0769", "0.0714", "higher"]
    assert "num_examples 12,345" in words and "skip_mrr - lower" in words
