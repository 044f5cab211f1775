import numpy as np
import pandas as pd
import pytest
from scipy import stats

from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import Comparison, ComparisonRun, bootstrap_mean

NUM_EXAMPLES = 200
NUM_WITH_SKIP = 120
RESAMPLES = 30_000
# Histories of four events with 0, 0, 1 and 2 skips in turn.
FEEDBACK = [[-1] * skips + [1] * (4 - skips) for skips in (0, 0, 1, 2)] * (NUM_EXAMPLES // 4)
HAS_SKIP = np.arange(NUM_EXAMPLES) < NUM_WITH_SKIP
EXAMPLES = Examples(
    Sessions.from_lists([[1, 2, 3, 4]] * NUM_EXAMPLES, FEEDBACK),
    np.full(NUM_EXAMPLES, 6, "int32"),
    np.where(HAS_SKIP, 5, 0),
)


def run(worst, seed, examples=EXAMPLES, exclude_seen=True, **ranks):
    rng = np.random.default_rng([worst, 0 if seed is None else seed + 1])
    target = rng.integers(1, worst, NUM_EXAMPLES).astype(float)
    skip = np.where(HAS_SKIP, rng.integers(1, 100, NUM_EXAMPLES), np.nan)
    preference = np.where(HAS_SKIP, (target < skip) + (target == skip) / 2, np.nan)
    ranks = {"target": target, "skip_target": skip, "preference": preference} | ranks
    return ComparisonRun("", {}, seed, examples.fingerprint(), exclude_seen, ranks)


@pytest.fixture(scope="module")
def comparison():
    worst = {"old": 100, "new": 60, "same": 100}
    runs = {name: [run(worst[name], seed) for seed in range(3)] for name in worst}
    return Comparison(runs | {"ready": [run(40, None)]}, EXAMPLES, k=(1, 10))


@pytest.fixture(scope="module")
def table(comparison):
    return comparison.table("old", num_resamples=RESAMPLES)


def hits_at_10(comparison, label):
    return np.stack([run.ranks["target"] <= 10 for run in comparison.runs[label]])


def test_means_and_spreads(comparison, table):
    for label in ("old", "new"):
        seeds = hits_at_10(comparison, label).mean(axis=1)
        row = table.loc[(label, "hr@10")]
        assert row["mean"] == pytest.approx(seeds.mean())
        assert row["spread"] == pytest.approx(np.std(seeds, ddof=1))
        assert row["num_seeds"] == 3 and row["num_examples"] == NUM_EXAMPLES
    assert np.isnan(table.loc[("ready", "hr@10"), "spread"])
    assert table.loc[("ready", "hr@10"), "num_seeds"] == 0

    row = table.loc[("new", "skip_hr@10")]
    skips = [run.ranks["skip_target"][:NUM_WITH_SKIP] for run in comparison.runs["new"]]
    assert row["mean"] == pytest.approx(np.mean(np.stack(skips) <= 10))
    assert row["num_examples"] == NUM_WITH_SKIP


@pytest.mark.parametrize(
    ("metric", "ranks", "number"),
    [("hr@10", "target", NUM_EXAMPLES), ("skip_hr@10", "skip_target", NUM_WITH_SKIP)],
)
def test_difference_is_bootstrapped_in_pairs(comparison, table, metric, ranks, number):
    ours, theirs = (
        np.mean([run.ranks[ranks][:number] <= 10 for run in comparison.runs[label]], axis=0)
        for label in ("new", "old")
    )
    found = table.loc[("new", metric), ["difference", "low", "high", "p_sessions"]].tolist()
    expected = bootstrap_mean(ours - theirs, num_resamples=RESAMPLES)
    assert found == pytest.approx(list(expected))


def test_seeds_are_paired(comparison, table):
    row = table.loc[("new", "hr@10")]
    ours, theirs = (hits_at_10(comparison, label).mean(axis=1) for label in ("new", "old"))
    assert row["p_seeds"] == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
    assert row["common_seeds"] == 3
    agree = np.sign(ours - theirs) == np.sign(row["difference"])
    assert row["agreeing_seeds"] == np.count_nonzero(agree)


def test_a_ready_scorer_pairs_with_every_seed(comparison, table):
    theirs = hits_at_10(comparison, "old").mean(axis=1)
    [ours] = hits_at_10(comparison, "ready").mean(axis=1)
    expected = stats.ttest_1samp(theirs, ours).pvalue
    assert table.loc[("ready", "hr@10"), "p_seeds"] == pytest.approx(expected)
    assert comparison.table("ready").loc[("old", "hr@10"), "p_seeds"] == pytest.approx(expected)
    two = Comparison({name: [run(worst, None)] for name, worst in (("a", 9), ("b", 5))}, EXAMPLES)
    assert (two.table().loc["b", "common_seeds"] == 0).all()


def test_common_seeds_only():
    runs = {"old": [run(100, seed) for seed in (0, 1, 2)]}
    runs["new"] = [run(60, seed) for seed in (2, 5, 1)]
    comparison = Comparison(runs, EXAMPLES)
    row = comparison.table().loc[("new", "hr@10")]
    ours = hits_at_10(comparison, "new").mean(axis=1)[[2, 0]]
    theirs = hits_at_10(comparison, "old").mean(axis=1)[[1, 2]]
    assert row["common_seeds"] == 2 and row["num_seeds"] == 3
    assert row["p_seeds"] == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)


def test_no_t_test_for_one_seed_or_without_any_spread(table):
    one = Comparison({"old": [run(100, 0)], "new": [run(60, 0)]}, EXAMPLES).table()
    assert one["p_seeds"].isna().all() and one["p_seeds_holm"].isna().all()
    assert one["spread"].isna().all()
    assert (one.loc["new", "p_sessions"].drop("kept_share@1") <= 1).all()

    same = table.loc["same"]
    assert (same["difference"] == 0).all() and (same["p_sessions"].dropna() == 1).all()
    assert same["p_seeds"].isna().all()


def test_the_family_is_every_row_but_the_baseline(comparison, table):
    assert table.loc["old", "p_sessions_holm"].isna().all()
    assert table.loc["old", "difference"].isna().all()
    others = table.drop(index="old", level=0)
    smallest = others["p_sessions"].min()
    assert others["p_sessions_holm"].min() == pytest.approx(
        min(1, others["p_sessions"].notna().sum() * smallest)
    )

    narrow = comparison.table("old", metrics=["hr@10"])
    assert narrow.index.tolist() == [(label, "hr@10") for label in comparison.labels]
    assert (narrow["p_sessions_holm"] <= 3 * narrow["p_sessions"]).sum() == 3


def test_no_skips_at_all():
    examples = Examples(EXAMPLES.histories, EXAMPLES.targets, np.zeros(NUM_EXAMPLES, "int32"))
    nothing = dict.fromkeys(("skip_target", "preference"), np.full(NUM_EXAMPLES, np.nan))
    runs = {str(worst): [run(worst, 0, examples, **nothing)] for worst in (100, 20)}
    table = Comparison(runs, examples).table()
    assert np.isnan(table.loc[("20", "feedback_auc"), "mean"])
    assert table.loc[("20", "skip_mrr"), "num_examples"] == 0
    counted = table["p_sessions"].notna().sum()
    assert counted == len(table.loc["20"].filter(regex="^(?!skip|kept|feedback)", axis=0))


def test_kept_share_is_resampled_as_a_ratio(comparison, table):
    """Models find something for different examples, with each seed for others."""

    def sums(label):
        runs = comparison.runs[label]
        kept, skipped = (
            np.stack([run.ranks[name][:NUM_WITH_SKIP] <= 10 for run in runs])
            for name in ("target", "skip_target")
        )
        either = kept | skipped
        return np.stack([(either * (1 + kept - 1.0 * skipped) / 2).sum(0), either.sum(0)])

    ours, theirs = sums("new"), sums("old")
    drawn = np.random.default_rng(1).integers(NUM_WITH_SKIP, size=(20_000, NUM_WITH_SKIP))
    shares = [side[0, drawn].sum(1) / side[1, drawn].sum(1) for side in (ours, theirs)]
    row = table.loc[("new", "kept_share@10")]
    assert row["mean"] == pytest.approx(ours[0].sum() / ours[1].sum())
    assert row["difference"] == pytest.approx(row["mean"] - theirs[0].sum() / theirs[1].sum())
    assert row["num_examples"] == np.count_nonzero(ours[1])
    expected = np.quantile(shares[0] - shares[1], [0.025, 0.975])
    assert row[["low", "high"]].tolist() == pytest.approx(expected, abs=0.006)
    assert row["p_sessions"] == pytest.approx(2 * np.mean(shares[0] < shares[1]), abs=0.02)
    alone = comparison.intervals("new").loc["kept_share@10"]
    expected = [row["mean"], *np.quantile(shares[0], [0.025, 0.975])]
    assert alone.tolist() == pytest.approx(expected, abs=0.006)


def test_kept_share_of_who_finds_hardly_anything():
    nothing = dict.fromkeys(("target", "skip_target"), np.full(NUM_EXAMPLES, np.inf))
    once = {name: np.where(np.arange(NUM_EXAMPLES) == 3, 1, r) for name, r in nothing.items()}
    runs = {"nothing": [run(9, 0, **nothing)], "once": [run(9, 0, **once)]}
    comparison = Comparison({"old": [run(9, 0)]} | runs, EXAMPLES)
    table = comparison.table()
    assert np.isnan(table.loc[("nothing", "kept_share@10"), ["mean", "p_sessions"]].tolist()).all()
    row = table.loc[("once", "kept_share@10")]
    assert row["mean"] == 0.5 and np.isnan(row[["low", "high", "p_sessions"]].tolist()).all()
    alone = comparison.intervals("once").loc["kept_share@10"]
    assert alone["mean"] == 0.5 and np.isnan(alone[["low", "high"]].tolist()).all()
    assert "kept share@10 nothing                  -" in str(comparison)
    assert "kept_share@10" in [*Comparison(runs, EXAMPLES).report_metrics()]


def test_difference_by_skip_share(comparison):
    expected = np.tile([0, 0, 0.25, 0.5], NUM_EXAMPLES // 4)
    np.testing.assert_allclose(comparison.skip_share(), expected)
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


def test_difference_by_skip_share_where_all_histories_are_alike():
    alike = Sessions.from_lists([[1]] * NUM_EXAMPLES)
    alike = Examples(alike, EXAMPLES.targets, EXAMPLES.skip_targets)
    runs = {label: [run(worst, 0, alike)] for label, worst in (("old", 100), ("new", 60))}
    found = Comparison(runs, alike).difference_by_skip_share("new")
    assert found.xs("hr@10", level="metric")["num_examples"].tolist() == [NUM_EXAMPLES]


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


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({"old": []}, "at least one run a label"),
        ({"old": [run(9, 0, EXAMPLES.take([0, 1]))]}, "All runs must have ranked `examples`"),
        ({"old": [run(9, 0)], "new": [run(9, 0, exclude_seen=False)]}, "`exclude_seen` must be"),
        ({"old": [run(9, 0), run(9, 0)]}, r"one run a seed. Received: 'old' .* \[0, 0\]"),
    ],
)
def test_refuses_runs_that_do_not_belong_together(runs, message):
    with pytest.raises(ValueError, match=message):
        Comparison(runs, EXAMPLES)
