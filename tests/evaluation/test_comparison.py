import numpy as np
import pandas as pd
import pytest
from scipy import stats

from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import Comparison, ComparisonRun, bootstrap_mean

NUM_EXAMPLES = 200
NUM_WITH_SKIP = 120


@pytest.fixture
def examples():
    """Histories of four events with 0, 0, 1 and 2 skips in turn."""
    feedback = [[-1] * skips + [1] * (4 - skips) for skips in (0, 0, 1, 2)] * (NUM_EXAMPLES // 4)
    sessions = Sessions.from_lists([[1, 2, 3, 4]] * NUM_EXAMPLES, feedback)
    skips = np.where(np.arange(NUM_EXAMPLES) < NUM_WITH_SKIP, 5, 0)
    return Examples(sessions, np.full(NUM_EXAMPLES, 6, "int32"), skips)


@pytest.fixture
def run(examples):
    def run(label, worst, seed, exclude_seen=True):
        rng = np.random.default_rng([worst, 0 if seed is None else seed + 1])
        has_skip = np.arange(NUM_EXAMPLES) < NUM_WITH_SKIP
        target = rng.integers(1, worst, NUM_EXAMPLES).astype(float)
        skip = np.where(has_skip, rng.integers(1, 100, NUM_EXAMPLES), np.nan)
        preference = np.where(has_skip, (target < skip) + (target == skip) / 2, np.nan)
        ranks = {"target": target, "skip_target": skip, "preference": preference}
        return ComparisonRun(label, {}, seed, examples.fingerprint(), exclude_seen, ranks)

    return run


@pytest.fixture
def comparison(examples, run):
    worst = {"old": 100, "new": 60, "same": 100}
    runs = {name: [run(name, worst[name], seed) for seed in range(3)] for name in worst}
    runs["same"] = [run("same", 100, seed) for seed in range(3)]
    runs["ready"] = [run("ready", 40, None)]
    return Comparison(runs, examples, k=(1, 10))


def hits_at_10(comparison, label):
    return np.stack([run.ranks["target"] <= 10 for run in comparison.runs[label]])


def test_means_and_spreads(comparison):
    table = comparison.table()
    for label in ("old", "new"):
        seeds = hits_at_10(comparison, label).mean(axis=1)
        row = table.loc[(label, "hr@10")]
        assert row["mean"] == pytest.approx(seeds.mean())
        assert row["spread"] == pytest.approx(np.std(seeds, ddof=1))
        assert row["num_seeds"] == 3 and row["num_examples"] == NUM_EXAMPLES
    assert np.isnan(table.loc[("ready", "hr@10"), "spread"])
    assert table.loc[("ready", "hr@10"), "num_seeds"] == 0


def test_skip_metrics_rest_on_examples_with_a_skip(comparison):
    row = comparison.table().loc[("new", "skip_hr@10")]
    skips = [run.ranks["skip_target"][:NUM_WITH_SKIP] for run in comparison.runs["new"]]
    assert row["mean"] == pytest.approx(np.mean(np.stack(skips) <= 10))
    assert row["num_examples"] == NUM_WITH_SKIP


@pytest.mark.parametrize(
    ("metric", "number"), [("hr@10", NUM_EXAMPLES), ("skip_hr@10", NUM_WITH_SKIP)]
)
def test_difference_is_bootstrapped_in_pairs(comparison, metric, number):
    row = comparison.table(num_resamples=10_000).loc[("new", metric)]
    ranks = "skip_target" if metric.startswith("skip") else "target"
    ours, theirs = (
        np.mean([run.ranks[ranks][:number] <= 10 for run in comparison.runs[label]], axis=0)
        for label in ("new", "old")
    )
    expected = stats.bootstrap(
        [ours, theirs],
        lambda ours, theirs, axis: np.mean(ours, axis=axis) - np.mean(theirs, axis=axis),
        paired=True,
        method="percentile",
        n_resamples=10_000,
        vectorized=True,
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert row["difference"] == pytest.approx(ours.mean() - theirs.mean())
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected), abs=0.004)
    assert row["p_sessions"] == bootstrap_mean(ours - theirs).p


def test_seeds_are_paired(comparison):
    row = comparison.table(baseline="old").loc[("new", "hr@10")]
    ours, theirs = (hits_at_10(comparison, label).mean(axis=1) for label in ("new", "old"))
    assert row["p_seeds"] == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
    assert row["common_seeds"] == 3


def test_a_ready_scorer_pairs_with_every_seed(comparison):
    theirs = hits_at_10(comparison, "old").mean(axis=1)
    [ours] = hits_at_10(comparison, "ready").mean(axis=1)
    expected = stats.ttest_1samp(theirs, ours).pvalue
    assert comparison.table("old").loc[("ready", "hr@10"), "p_seeds"] == pytest.approx(expected)
    assert comparison.table("ready").loc[("old", "hr@10"), "p_seeds"] == pytest.approx(expected)


def test_common_seeds_only(examples, run):
    runs = {
        "old": [run("old", 100, seed) for seed in (0, 1, 2)],
        "new": [run("new", 60, seed) for seed in (2, 5, 1)],
    }
    comparison = Comparison(runs, examples)
    row = comparison.table().loc[("new", "hr@10")]
    ours = hits_at_10(comparison, "new").mean(axis=1)[[2, 0]]
    theirs = hits_at_10(comparison, "old").mean(axis=1)[[1, 2]]
    assert row["common_seeds"] == 2
    assert row["p_seeds"] == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
    assert row["num_seeds"] == 3


def test_no_t_test_for_one_seed_or_without_any_spread(examples, run, comparison):
    one = Comparison({"old": [run("old", 100, 0)], "new": [run("new", 60, 0)]}, examples)
    table = one.table()
    assert table["p_seeds"].isna().all() and table["p_seeds_holm"].isna().all()
    assert table["spread"].isna().all()
    assert (table.loc["new", "p_sessions"] <= 1).all()

    same = comparison.table("old").loc["same"]
    assert (same["difference"] == 0).all() and (same["p_sessions"] == 1).all()
    assert same["p_seeds"].isna().all()


def test_the_family_is_every_row_but_the_baseline(comparison):
    table = comparison.table("old")
    assert table.loc["old", "p_sessions_holm"].isna().all()
    assert table.loc["old", "difference"].isna().all()
    others = table.drop(index="old", level=0)
    smallest = others["p_sessions"].min()
    assert others["p_sessions_holm"].min() == pytest.approx(min(1, len(others) * smallest))

    narrow = comparison.table("old", metrics=["hr@10"])
    assert narrow.index.get_level_values("metric").unique().tolist() == ["hr@10"]
    assert len(narrow) == 4
    row = narrow.loc[("new", "hr@10")]
    assert row["p_sessions_holm"] <= 3 * row["p_sessions"]


def test_no_skips_at_all(examples, run):
    examples = Examples(examples.histories, examples.targets, np.zeros(NUM_EXAMPLES, "int32"))
    nothing = np.full(NUM_EXAMPLES, np.nan)
    runs = {
        label: [
            ComparisonRun(
                label,
                {},
                0,
                examples.fingerprint(),
                True,
                run(label, worst, 0).ranks | {"skip_target": nothing, "preference": nothing},
            )
        ]
        for label, worst in (("old", 100), ("new", 20))
    }
    table = Comparison(runs, examples).table()
    assert table.loc[("new", "feedback_auc")].drop(["num_seeds", "num_examples"]).isna()["mean"]
    assert table.loc[("new", "skip_mrr"), "num_examples"] == 0
    counted = table["p_sessions"].notna().sum()
    assert counted == len(table.loc["new"].filter(regex="^(?!skip|feedback)", axis=0))


def test_skip_share(comparison):
    np.testing.assert_allclose(
        comparison.skip_share(), np.tile([0, 0, 0.25, 0.5], NUM_EXAMPLES // 4)
    )


def test_difference_by_skip_share(comparison):
    found = comparison.difference_by_skip_share("new", "old")
    shares = found.index.get_level_values("skip_share").unique()
    assert len(shares) == 3  # two of the quantiles are 0
    groups = pd.cut(comparison.skip_share(), pd.IntervalIndex(shares))
    ours, theirs = (hits_at_10(comparison, label).mean(axis=0) for label in ("new", "old"))
    for share in shares:
        inside = groups == share
        row = found.loc[(share, "hr@10")]
        assert row["num_examples"] == inside.sum()
        assert row["mean"] == pytest.approx(np.mean(ours[inside] - theirs[inside]))
        assert row["low"] < row["mean"] < row["high"]
    assert found.xs("hr@10", level="metric")["num_examples"].sum() == NUM_EXAMPLES


def test_difference_by_skip_share_where_all_histories_are_alike(examples, run):
    alike = Examples(
        Sessions.from_lists([[1]] * NUM_EXAMPLES), examples.targets, examples.skip_targets
    )
    runs = {}
    for label, worst in (("old", 100), ("new", 60)):
        ranks = run(label, worst, 0).ranks
        runs[label] = [ComparisonRun(label, {}, 0, alike.fingerprint(), True, ranks)]
    found = Comparison(runs, alike).difference_by_skip_share("new")
    assert found.xs("hr@10", level="metric")["num_examples"].tolist() == [NUM_EXAMPLES]


def test_intervals(comparison):
    found = comparison.intervals("new", k=[3])
    values = np.mean([run.ranks["target"] <= 3 for run in comparison.runs["new"]], axis=0)
    expected = bootstrap_mean(values, num_resamples=2000)
    assert found.loc["hr@3"].tolist() == pytest.approx(list(expected[:3]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"baseline": "nobody"}, "`baseline` must be one of 'old', .* Received: baseline='nobody'"),
        ({"metrics": ["hr@7"]}, "`metrics` must be one of 'hr@1', .* Received: metrics='hr@7'"),
        ({"num_resamples": 0}, "`num_resamples` must be a positive integer"),
    ],
)
def test_table_refuses(comparison, arguments, message):
    with pytest.raises(ValueError, match=message):
        comparison.table(**arguments)


def test_refuses_runs_that_do_not_belong_together(examples, run):
    with pytest.raises(ValueError, match="at least one run a label"):
        Comparison({"old": []}, examples)
    with pytest.raises(ValueError, match="All runs must have ranked `examples`"):
        Comparison({"old": [run("old", 100, 0)]}, examples.take([0, 1]))
    with pytest.raises(ValueError, match="`exclude_seen` must be the same"):
        Comparison(
            {"old": [run("old", 9, 0)], "new": [run("new", 9, 0, exclude_seen=False)]}, examples
        )
    with pytest.raises(ValueError, match=r"one run a seed. Received: 'old' .* \[0, 0\]"):
        Comparison({"old": [run("old", 9, 0), run("old", 9, 0)]}, examples)
