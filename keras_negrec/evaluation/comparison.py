"""What a comparison found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_choice, check_positive_int, check_positive_ints
from keras_negrec.data import Examples
from keras_negrec.evaluation.ranking_metrics import (
    example_metrics,
    metric_of,
    metric_title,
    named_metrics,
)
from keras_negrec.evaluation.significance import bootstrap_columns, holm_correction

if TYPE_CHECKING:
    from keras_negrec.evaluation.compare import ComparisonRun

_COLUMNS = ["mean", "spread", "num_seeds", "num_examples", "difference", "low", "high"]
_COLUMNS += ["p_sessions", "p_sessions_holm", "p_seeds", "p_seeds_holm"]
_COLUMNS += ["common_seeds", "agreeing_seeds"]


class Comparison:
    """Runs of several configurations on the same examples, and what they say. See `compare`.

    Printed, it is a table of the metrics of the report, with the first configuration as baseline.

    Args:
        runs: dict from label to the `ComparisonRun`s of that configuration, one a seed.
        examples: `Examples` that all runs ranked.
        k: ints. The cut-offs K.

    Raises:
        ValueError: no runs; a seed that comes twice; runs that ranked other examples, or both with
            and without `exclude_seen`.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3, 3]] * 10)
    >>> test = keras_negrec.data.leave_one_out(sessions).test
    >>> scorers = {"popularity": keras_negrec.models.Popularity(sessions, num_items=3)}
    >>> comparison = keras_negrec.compare(None, {}, test, folder="runs", scorers=scorers)
    >>> comparison.table().loc[("popularity", "hr@10"), "num_examples"]
    np.int64(10)
    """

    def __init__(
        self,
        runs: Mapping[str, Sequence[ComparisonRun]],
        examples: Examples,
        *,
        k: Sequence[int] = (1, 5, 10, 20),
    ):
        self.runs = {label: list(of_label) for label, of_label in runs.items()}
        self.examples = examples
        self.k = check_positive_ints("k", k)
        if not self.k:
            raise ValueError(f"`k` must hold at least one cut-off. Received: k={k!r}")
        if not self.runs or not all(self.runs.values()):
            raise ValueError(f"`runs` must hold at least one run a label. Received: {self.runs}")
        for label, of_label in self.runs.items():
            seeds = [run.seed for run in of_label]
            if len(set(seeds)) < len(seeds):
                raise ValueError(
                    f"A configuration has one run a seed. Received: {label!r} with seeds {seeds}"
                )
        every = [run for of_label in self.runs.values() for run in of_label]
        ranked, own = {run.examples for run in every}, examples.fingerprint()
        if ranked != {own}:
            raise ValueError(
                "All runs must have ranked `examples`. Received: runs on examples with the "
                f"fingerprints {sorted(ranked)}, and examples with {own}"
            )
        if len({run.exclude_seen for run in every}) > 1:
            raise ValueError(
                "`exclude_seen` must be the same in all runs; where models differ, give it to "
                "`compare`. Received: both."
            )

    @property
    def labels(self) -> list[str]:
        """The configurations, in the order in which they were given."""
        return list(self.runs)

    @property
    def cutoff(self) -> int:
        """The K of the report: 10, or the largest cut-off where 10 is none."""
        return 10 if 10 in self.k else max(self.k)

    def is_ready(self, label: str) -> bool:
        """Whether it is a scorer that was compared as it is, without seeds."""
        return [run.seed for run in self.runs[label]] == [None]

    def skip_share(self) -> np.ndarray:
        """The share of events with negative feedback in each example's history."""
        histories = self.examples.histories
        skips = np.bincount(histories.rows(), histories.feedback < 0, len(histories))
        return skips / np.maximum(histories.lengths, 1)

    def report_metrics(self) -> list[str]:
        """The metrics of the report: at `cutoff`, those that rest on at least one example."""
        values = [self.example_metrics(label, k=[self.cutoff]) for label in self.runs]
        known = pd.concat(values).dropna(axis=1, how="all")
        return [name for name in known if metric_of(name).in_reports]

    def example_metrics(self, label: str, *, k: Sequence[int] | None = None) -> pd.DataFrame:
        """One row an example, one column a metric: means over the seeds, NaN without a value."""
        of_runs = self._metrics(label, k)
        return pd.concat(of_runs).groupby(level=0).mean()

    def seed_metrics(self, label: str) -> pd.DataFrame:
        """One row a seed, one column a metric: the mean over the examples."""
        means = [values.mean() for values in self._metrics(label)]
        seeds = pd.Index([run.seed for run in self.runs[label]], name="seed")
        return pd.DataFrame(means, index=seeds)

    def _metrics(self, label: str, k=None) -> list[pd.DataFrame]:
        check_choice("label", label, tuple(self.runs))
        return [pd.DataFrame(example_metrics(run.ranks, k=k or self.k)) for run in self.runs[label]]

    def _known(self, label: str, k=None) -> pd.DataFrame:
        """Of the shape of `_metrics`: whether the example has the targets that a metric needs."""
        ranks = self.runs[label][0].ranks
        return pd.DataFrame(
            {
                name: metric.known(ranks)
                for name, metric, _ in named_metrics(k or self.k, ranks)
                if metric.of_examples
            }
        )

    def table(
        self,
        baseline: str | None = None,
        *,
        metrics: Sequence[str] | None = None,
        num_resamples: int | None = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Means, differences from the baseline, and how far they can be trusted.

        One row a configuration and metric, index `(configuration, metric)`, with the columns

        - `mean`: over the examples and the seeds;
        - `spread`: standard deviation over the seeds of the mean over the examples;
        - `num_seeds`, `num_examples`: what they rest on: examples that have the targets needed,
          and for `kept_share@K` either of them among the first K;
        - `difference`: from the baseline; `low` and `high`: its 95 % bootstrap interval. Models
          find something for different examples, so that for `kept_share@K` examples are drawn
          and both shares taken anew; NaN where a draw may hold none;
        - `p_sessions`: p value of a paired bootstrap over the examples: would the difference
          between *these trained models* show on other sessions?
        - `p_seeds`: paired t test over the seeds' means: would it show on *these sessions* with
          other seeds? NaN for fewer than two pairs and where all differ by the same amount;
        - `p_sessions_holm`, `p_seeds_holm`: the same, corrected by `holm_correction` for all rows
          of this table but the baseline's, each of the two tests on its own;
        - `common_seeds`: of configuration and baseline, the pairs of the t test, where a ready
          scorer pairs with every seed; `agreeing_seeds`: those that differ the way the mean does.

        Args:
            baseline: label. Default: the first.
            metrics: names, such as `"hr@10"`. Default: all that are registered for reports: not
                `mrr@K` and `map@K`, which are equal and hardly differ from `mrr`.
            num_resamples: int. Default: 10,000, or 400 for each comparison of the family where
                that is more, so that a corrected value can become small.
            seed: int. Of the bootstrap.
        """
        baseline = self._baseline(baseline)
        known = tuple(self.seed_metrics(baseline))
        for name in metrics or ():
            check_choice("metrics", name, known)
        metrics = list(metrics or [name for name in known if metric_of(name).in_reports])
        if num_resamples is None:
            num_resamples = max(10_000, 400 * (len(self.runs) - 1 or 1) * len(metrics))
        check_positive_int("num_resamples", num_resamples)
        targets_known = self._known(baseline)[metrics]
        theirs = [run[metrics] for run in self._metrics(baseline)]
        baseline_seeds = self.seed_metrics(baseline)
        rows = []
        for label in self.runs:
            ours = [run[metrics] for run in self._metrics(label)]
            seeds, means = self.seed_metrics(label), pd.concat(ours).mean()
            num_examples = self.example_metrics(label).notna().sum()
            if label != baseline:
                found = bootstrap_columns(
                    targets_known, ours, theirs, num_resamples=num_resamples, seed=seed
                )
                found = found.rename(columns={"mean": "difference", "p": "p_sessions"})
            for metric in metrics:
                row = {
                    "mean": means[metric],
                    "spread": seeds[metric].std(),
                    "num_seeds": 0 if self.is_ready(label) else len(seeds),
                    "num_examples": num_examples[metric],
                }
                if label != baseline:
                    row |= found.loc[metric].to_dict()
                    each = _seed_differences(seeds[metric], baseline_seeds[metric])
                    agree = np.sign(each) == np.sign(row["difference"])
                    row |= {"common_seeds": len(each), "agreeing_seeds": agree.sum()}
                    row["p_seeds"] = _t_test(each)
                rows.append(row)
        names = ["configuration", "metric"]
        index = pd.MultiIndex.from_product([self.labels, metrics], names=names)
        table = pd.DataFrame(rows, index, _COLUMNS)
        for test in ("p_sessions", "p_seeds"):
            table[f"{test}_holm"] = holm_correction(table[test])
        return table

    def sampled_table(self) -> pd.DataFrame:
        """The metrics of the sampled protocol, which never stand beside the full ones.

        Index and columns `mean` and `spread` as in `table`; no rows where `compare` took none.
        """
        parts = {}
        for label, runs in self.runs.items():
            found = pd.DataFrame([run.sampled or {} for run in runs])
            parts[label] = pd.DataFrame({"mean": found.mean(), "spread": found.std()})
        return pd.concat(parts, names=["configuration", "metric"])

    def intervals(
        self, label: str, *, k: Sequence[int] | None = None, num_resamples: int = 2000
    ) -> pd.DataFrame:
        """Each metric's `mean` with `low` and `high`, its 95 % interval over the examples."""
        known = self._known(label, k)
        found = bootstrap_columns(known, self._metrics(label, k), num_resamples=num_resamples)
        return found[["mean", "low", "high"]]

    def difference_by_skip_share(
        self,
        label: str,
        baseline: str | None = None,
        *,
        k: Sequence[int] | None = None,
        bins: int = 4,
        num_resamples: int = 2000,
    ) -> pd.DataFrame:
        """The difference from the baseline for histories with few and with many skips.

        The examples are cut at the quantiles of `skip_share()`, into fewer bins where these fall
        together. Index `(skip_share, metric)`, the first an interval of shares; columns `mean`,
        `low`, `high` (the difference with its 95 % interval) and `num_examples`.
        """
        baseline = self._baseline(baseline)
        sides = [self._metrics(each, k) for each in (label, baseline)]
        known, there = self._known(label, k), self.example_metrics(label, k=k).notna()
        share = self.skip_share()
        edges = np.unique(np.quantile(share, np.arange(1, bins + 1) / bins))
        groups = pd.Series(pd.cut(share, [share.min() - 0.001, *edges]))
        found = {
            share: bootstrap_columns(
                known.loc[part.index],
                *([run.loc[part.index] for run in side] for side in sides),
                num_resamples=num_resamples,
            ).assign(num_examples=part.sum())
            for share, part in there.groupby(groups, observed=True)
        }
        names = ["skip_share", "metric"]
        return pd.concat(found, names=names)[["mean", "low", "high", "num_examples"]]

    def report(self, folder, baseline: str | None = None) -> Path:
        """Writes `report.md`, with its charts beside it, and `report.html`, one file for all.

        First the verdict and what changed against the baseline, by default the first
        configuration, in words; then means, charts, tests and what was run. Fewer skips are called
        better only where hits are not clearly fewer. The family of the correction is all that
        `report_metrics` names. Needs matplotlib.

        Returns:
            The path of `report.html`.
        """
        from keras_negrec.evaluation.comparison_report import write_report

        return write_report(self, Path(folder), self._baseline(baseline))

    def _baseline(self, baseline: str | None) -> str:
        baseline = self.labels[0] if baseline is None else baseline
        check_choice("baseline", baseline, tuple(self.runs))
        return baseline

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(self.labels)} on {len(self.examples):,} examples>"

    def __str__(self) -> str:
        head = f"{'metric':13} {'configuration':18} {'mean':>7} {'change':>8}"
        lines = [f"{head}  95 % interval        p better"]
        for (label, name), found in self.table(metrics=self.report_metrics()).iterrows():
            mean = "-" if np.isnan(found["mean"]) else f"{found['mean']:.4f}"
            line = f"{metric_title(name):13.13} {label:18.18} {mean:>7}"
            if not np.isnan(found["difference"]):
                line += f" {found['difference']:+8.4f}"
            if not np.isnan(found["low"]):
                line += f"  {found['low']:+.4f} {found['high']:+.4f}"
                line += f" {p_value(found['p_sessions_holm']):>6}"
            lines.append(f"{line:<73} {metric_of(name).better}")
        return "\n".join(lines)


def p_value(p: float) -> str:
    """As it is printed everywhere: `"0.012"`, `"<0.001"`, and nothing where there is no test."""
    if np.isnan(p):
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _seed_differences(ours: pd.Series, theirs: pd.Series) -> pd.Series:
    """For the seeds in common; a ready scorer, whose seed is None, pairs with every seed."""
    if list(ours.index) == [None]:
        ours = pd.Series(ours.iloc[0], theirs.index)
    elif list(theirs.index) == [None]:
        theirs = pd.Series(theirs.iloc[0], ours.index)
    ours, theirs = ours.align(theirs, join="inner")
    return (ours - theirs)[ours.index.notna()]


def _t_test(differences: pd.Series) -> float:
    if len(differences) < 2 or differences.max() - differences.min() < 1e-12:
        return np.nan
    from scipy import stats  # slow to import

    return float(stats.ttest_1samp(differences, 0).pvalue)
