"""What a comparison found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_choice, check_positive_ints
from keras_negrec.data import Examples
from keras_negrec.evaluation.bootstrap_mean import bootstrap_columns
from keras_negrec.evaluation.comparison_run import ComparisonRun
from keras_negrec.evaluation.holm_correction import holm_correction
from keras_negrec.evaluation.metric_table import metric_of, metric_title
from keras_negrec.evaluation.ranking_metrics import example_metrics


class Comparison:
    """Runs of several configurations on the same examples, and what they say. See `compare`.

    Printed, it is a table of the metrics of the report, with the first configuration as baseline.

    Args:
        runs: dict from label to the `ComparisonRun`s of that configuration, one a seed.
        examples: `Examples` that all runs ranked.
        k: ints. The cut-offs K.

    Raises:
        ValueError: no runs; runs on other examples, or with and without `exclude_seen`; a seed
            that comes twice.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]] * 100)
    >>> examples = keras_negrec.data.Examples.after(sessions, np.full(100, 2))
    >>> names = ("target", "skip_target", "preference")
    >>> runs = {
    ...     label: [
    ...         keras_negrec.evaluation.ComparisonRun(
    ...             label, {}, seed, examples.fingerprint(), True,
    ...             {name: rng.integers(1, worst, 100).astype(float) for name in names},
    ...         )
    ...         for seed in range(3)
    ...     ]
    ...     for label, worst in (("old", 100), ("new", 50))
    ... }
    >>> comparison = keras_negrec.evaluation.Comparison(runs, examples)
    >>> found = comparison.table(baseline="old").loc[("new", "hr@10")]
    >>> bool(found["low"] > 0), bool(found["p_sessions_holm"] < 0.05)
    (True, True)
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
        every = [run for of_label in self.runs.values() for run in of_label]
        if {run.examples for run in every} != {examples.fingerprint()}:
            raise ValueError(
                "All runs must have ranked `examples`. Received: runs on examples with the "
                f"fingerprints {sorted({run.examples for run in every})}, and examples with "
                f"{examples.fingerprint()}"
            )
        if len({run.exclude_seen for run in every}) > 1:
            raise ValueError("`exclude_seen` must be the same in all runs. Received: both.")
        for label, of_label in self.runs.items():
            seeds = [run.seed for run in of_label]
            if len(set(seeds)) < len(seeds):
                raise ValueError(
                    f"A configuration has one run a seed. Received: {label!r} with seeds {seeds}"
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
        negative = np.bincount(
            histories.rows(), weights=histories.feedback < 0, minlength=len(histories)
        )
        return negative / np.maximum(histories.lengths, 1)

    def report_metrics(self) -> list[str]:
        """The metrics of the report: at `cutoff`, those that rest on at least one example."""
        values = self.example_metrics(self.labels[0], k=[self.cutoff])
        return [
            name for name in values if metric_of(name).in_reports and values[name].notna().any()
        ]

    def example_metrics(self, label: str, *, k: Sequence[int] | None = None) -> pd.DataFrame:
        """One row an example, one column a metric: the mean over the configuration's seeds.

        Metrics are NaN for examples without the target or the skip target that they need.
        """
        of_runs = self._metrics(label, k)
        return sum(of_runs[1:], start=of_runs[0]) / len(of_runs)

    def seed_metrics(self, label: str) -> pd.DataFrame:
        """One row a seed, one column a metric: the mean over the examples."""
        means = [values.mean() for values in self._metrics(label)]
        seeds = pd.Index([run.seed for run in self.runs[label]], name="seed")
        return pd.DataFrame(means, index=seeds)

    def paired_seeds(self, label: str, baseline: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """The metric's means of both configurations for each seed that they have in common.

        A ready scorer pairs with every seed; two of them have no seeds.
        """
        return _pair(self.seed_metrics(label)[metric], self.seed_metrics(baseline)[metric])

    def _metrics(self, label: str, k=None) -> list[pd.DataFrame]:
        check_choice("label", label, tuple(self.runs))
        return [pd.DataFrame(example_metrics(run.ranks, k=k or self.k)) for run in self.runs[label]]

    def table(
        self,
        baseline: str | None = None,
        *,
        metrics: Sequence[str] | None = None,
        num_resamples: int | None = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Means, differences from the baseline, and how far they can be trusted.

        One row a configuration and metric, with the columns

        - `mean`: over the examples and the seeds;
        - `spread`: standard deviation over the seeds of the mean over the examples; NaN for one
          seed and for ready scorers;
        - `num_seeds`, `num_examples`: what they rest on; skip metrics rest on the examples that
          have a skip target;
        - `difference`: from the baseline; `low` and `high`: its 95 % bootstrap interval;
        - `p_sessions`: p value of a paired bootstrap over the examples: would the
          difference between *these trained models* show on other sessions?
        - `p_seeds`: paired t test over the seeds' means: would it show on *these sessions* with
          other seeds? It pairs the `common_seeds` of configuration and baseline, and is NaN for
          fewer than two and where all seeds differ by the same amount. A ready scorer pairs with
          every seed;
        - `p_sessions_holm`, `p_seeds_holm`: the same, corrected by `holm_correction` for all rows
          of this table but the baseline's, each of the two tests on its own.

        Args:
            baseline: label. Default: the first.
            metrics: names, such as `"hr@10"`. Default: all that are registered for reports: not
                `mrr@K` and `map@K`, which are equal and hardly differ from `mrr`.
            num_resamples: int. Default: 10,000, or 400 for each comparison of the family where
                that is more, so that a corrected value can become small.
            seed: int. Of the bootstrap.

        Returns:
            A DataFrame with the index `(configuration, metric)`.

        Raises:
            ValueError: an unknown baseline or metric.
        """
        baseline = self.check_baseline(baseline)
        examples = {label: self.example_metrics(label) for label in self.runs}
        seeds = {label: self.seed_metrics(label) for label in self.runs}
        known = tuple(examples[baseline])
        for name in metrics or ():
            check_choice("metrics", name, known)
        metrics = (
            [name for name in known if metric_of(name).in_reports] if metrics is None else metrics
        )
        others = [label for label in self.runs if label != baseline]
        if num_resamples is None:
            num_resamples = max(10_000, 400 * len(others) * len(metrics))
        differences = {
            label: examples[label][metrics] - examples[baseline][metrics] for label in others
        }
        bootstrap = bootstrap_columns(
            pd.concat(differences or {baseline: examples[baseline][metrics]}, axis=1),
            num_resamples,
            seed,
        )
        rows = {}
        for label in self.runs:
            ready = self.is_ready(label)
            for metric in metrics:
                rows[label, metric] = row = {
                    "mean": examples[label][metric].mean(),
                    "spread": np.nan if ready else seeds[label][metric].std(),
                    "num_seeds": 0 if ready else len(seeds[label]),
                    "num_examples": examples[label][metric].notna().sum(),
                }
                if label != baseline:
                    ours, theirs = _pair(seeds[label][metric], seeds[baseline][metric])
                    found = bootstrap.loc[(label, metric)]
                    row |= {"difference": found["mean"], "low": found["low"], "high": found["high"]}
                    row |= {"p_sessions": found["p"], "p_seeds": _paired_t_test(ours, theirs)}
                    row["common_seeds"] = len(ours)
        table = pd.DataFrame.from_dict(rows, orient="index").reindex(
            columns=[
                *("mean", "spread", "num_seeds", "num_examples", "difference", "low", "high"),
                *("p_sessions", "p_sessions_holm", "p_seeds", "p_seeds_holm", "common_seeds"),
            ]
        )
        for test in ("p_sessions", "p_seeds"):
            table[f"{test}_holm"] = holm_correction(table[test])
        table.index = pd.MultiIndex.from_tuples(rows, names=["configuration", "metric"])
        return table

    def sampled_table(self) -> pd.DataFrame:
        """The metrics of the sampled protocol, which never stand beside the full ones.

        Returns:
            A DataFrame with the index `(configuration, metric)` and the columns `mean`, over the
            seeds, and `spread`, their standard deviation; no rows where `compare` did not take
            these metrics.
        """
        parts = {}
        for label, runs in self.runs.items():
            found = pd.DataFrame([run.sampled or {} for run in runs])
            parts[label] = pd.DataFrame({"mean": found.mean(), "spread": found.std()})
        return pd.concat(parts, names=["configuration", "metric"])

    def intervals(
        self, label: str, *, k: Sequence[int] | None = None, num_resamples: int = 2000
    ) -> pd.DataFrame:
        """Each metric's mean with its 95 % bootstrap interval over the examples.

        Returns:
            A DataFrame with one row a metric and the columns `mean`, `low` and `high`.
        """
        return bootstrap_columns(self.example_metrics(label, k=k), num_resamples)[
            ["mean", "low", "high"]
        ]

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

        The examples are cut at the quantiles of `skip_share()`; where so many have the same
        share that quantiles fall together, there are fewer bins.

        Returns:
            A DataFrame with the index `(skip_share, metric)`, the first an interval of shares,
            and the columns `mean`, `low`, `high` (the difference with its 95 % interval) and
            `num_examples`.
        """
        baseline = self.check_baseline(baseline)
        difference = self.example_metrics(label, k=k) - self.example_metrics(baseline, k=k)
        groups = pd.Series(pd.qcut(self.skip_share(), bins, duplicates="drop"))
        parts = dict(list(difference.groupby(groups, observed=True)))
        if not parts:  # all histories have the same share
            share = pd.Interval(*np.quantile(self.skip_share(), [0, 1]), closed="both")
            parts[share] = difference
        found = {
            share: bootstrap_columns(part, num_resamples).assign(num_examples=part.notna().sum())
            for share, part in parts.items()
        }
        names = ["skip_share", "metric"]
        return pd.concat(found, names=names)[["mean", "low", "high", "num_examples"]]

    def report(self, folder, baseline: str | None = None) -> Path:
        """Writes `report.md`, with its charts beside it, and `report.html`, one file for all.

        First what changed against the baseline, in words; then means, charts and tests. The
        family of the correction is the report's: all that `report_metrics` names.

        Args:
            folder: path. Is made where it does not exist.
            baseline: label. Default: the first.

        Returns:
            The path of `report.html`.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: an unknown baseline.
        """
        from keras_negrec.evaluation.comparison_report import write_report

        return write_report(self, Path(folder), self.check_baseline(baseline))

    def check_baseline(self, baseline: str | None) -> str:
        """The label, by default the first, or an error if there is no such configuration."""
        if baseline is None:
            return self.labels[0]
        check_choice("baseline", baseline, tuple(self.runs))
        return baseline

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(self.labels)} on {len(self.examples):,} examples>"

    def __str__(self) -> str:
        head = f"{'metric':13} {'configuration':19} {'mean':>7} {'change':>8}"
        lines = [f"{head}  95 % interval        p better"]
        for (label, name), found in self.table(metrics=self.report_metrics()).iterrows():
            line = f"{metric_title(name):13.13} {label:19.19} {found['mean']:7.4f}"
            if not np.isnan(found["difference"]):
                line += f" {found['difference']:+8.4f}  {found['low']:+.4f} {found['high']:+.4f}"
                line += f" {found['p_sessions_holm']:6.3f}"
            lines.append(f"{line:<73} {metric_of(name).better}")
        return "\n".join(lines)


def _pair(ours: pd.Series, theirs: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    ready, other_ready = (list(means.index) == [None] for means in (ours, theirs))
    if ready and other_ready:
        return np.zeros(0), np.zeros(0)
    if ready:
        return np.full(len(theirs), ours.iloc[0]), theirs.to_numpy()
    if other_ready:
        return ours.to_numpy(), np.full(len(ours), theirs.iloc[0])
    common = ours.index.intersection(theirs.index)
    return ours[common].to_numpy(), theirs[common].to_numpy()


def _paired_t_test(ours: np.ndarray, theirs: np.ndarray) -> float:
    if len(ours) < 2 or np.ptp(ours - theirs) < 1e-12:
        return np.nan
    from scipy import stats  # slow to import

    return float(stats.ttest_rel(ours, theirs).pvalue)
