"""The metrics of a ranking: which there are, and their values from ranks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_negrec.argument_checks import check_choice, check_positive_int, check_positive_ints


@dataclass(frozen=True)
class Metric:
    """What evaluation, callback, comparison and report know of a metric. See `register_metric`."""

    name: str
    title: str
    function: Callable
    label: str
    needs: tuple[str, ...] = ("target",)
    higher_is_better: bool = True
    in_reports: bool = True
    needs_all: bool = True  # else an example with one of its needs counts too

    @property
    def better(self) -> str:
        return "higher" if self.higher_is_better else "lower"

    @property
    def of_examples(self) -> bool:
        """Whether it has a value for each example, from the ranks of its targets alone."""
        return not set(_OF_ALL) & set(self.needs)

    def known(self, ranks) -> np.ndarray:
        """Which examples have what it needs."""
        there = ~np.isnan([ranks[need] for need in self.needs])
        return np.asarray(there.all(axis=0) if self.needs_all else there.any(axis=0))

    def values(self, ranks, cutoff: int | None) -> np.ndarray:
        """Its value for each example, NaN where what it needs is not known; or one for all."""
        needed = [np.asarray(ranks[need]) for need in self.needs]
        of_cutoff = () if cutoff is None else (cutoff,)
        if not self.of_examples:
            return np.asarray(self.function(*needed, *of_cutoff))
        known = self.known(ranks)
        values = np.full(known.shape, np.nan)
        if known.any():
            values[known] = self.function(*(each[known] for each in needed), *of_cutoff)
        return values


METRICS: dict[str, Metric] = {}  # filled in below, and by `register_metric`
_OF_ALL = ("top_items", "num_items")


def register_metric(
    name: str,
    function: Callable,
    *,
    label: str,
    needs: str | Collection[str] = "target",
    higher_is_better: bool = True,
    title: str | None = None,
    in_reports: bool = True,
) -> Metric:
    """Makes one more metric known to `evaluate`, `RankingEvaluation`, `compare` and its report.

    Args:
        name: str, such as `"mrr"`; or `"hr@K"` for a metric that has a value for each cut-off, and
            is then called `"hr@10"` and so on. One that was registered before is replaced.
        function: gets an array for each of `needs`, in that order, then the cut-off if there is
            one. Returns the values whose mean is the metric, one for each example, NaN for one
            that does not count; or one for all.
        label: str. What it says, in a sentence.
        needs: of `"target"` and `"skip_target"`, float arrays with the ranks of the next kept and
            the next skipped item; `"preference"`, whether the first of them scored higher; only
            examples that have all of these count. Not in `compare`: `"top_items"`, int array
            `(num_examples, largest k)` with the first items, best first; `"num_items"`, an int.
        higher_is_better: bool.
        title: str or None. What charts and tables call it, without its cut-off. Default: its name.
        in_reports: bool. Whether comparisons show it where they aren't asked for it.

    Raises:
        ValueError: a name of another kind, or of a metric of this package; an unknown need.

    Example:

    >>> metric = keras_negrec.evaluation.register_metric(
    ...     "half_hit@K", lambda target, k: target <= k / 2, label="in the better half of K?"
    ... )
    >>> ranks = {"target": np.array([1.0, 4.0])}
    >>> keras_negrec.evaluation.example_metrics(ranks, k=[4])["half_hit@4"]
    array([1., 0.])
    >>> keras_negrec.evaluation.unregister_metric("half_hit@K")
    """
    base = name.removesuffix("@K")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", base) or base.startswith(("num_", "sampled_")):
        raise ValueError(
            f'`name` must be of the kind "mrr" or "hr@K", in small letters. Received: name={name!r}'
        )
    if name in _OWN:
        raise ValueError(f"`name` must not be one of {sorted(_OWN)}. Received: name={name!r}")
    needs = (needs,) if isinstance(needs, str) else tuple(needs)
    for need in needs:
        check_choice("needs", need, ("target", "skip_target", "preference", *_OF_ALL))
    title = title or base.replace("_", " ")
    METRICS[name] = Metric(name, title, function, label, needs, higher_is_better, in_reports)
    return METRICS[name]


def unregister_metric(name: str) -> None:
    """Takes back what `register_metric` did."""
    if name not in _OWN:
        METRICS.pop(name, None)


def metric_of(name: str) -> Metric:
    """The metric behind a name such as `"hr@10"` or `"sampled_hr@10"`; a KeyError for others."""
    base, at, _ = name.removeprefix("sampled_").partition("@")
    return METRICS[f"{base}@K" if at else base]


def metric_title(name: str) -> str:
    """What a person calls it: `"skip HR@10"` for `"skip_hr@10"`."""
    _, at, cutoff = name.partition("@")
    return f"{metric_of(name).title}{at}{cutoff}"


def named_metrics(
    k: Iterable[int], known: Collection[str]
) -> Iterable[tuple[str, Metric, int | None]]:
    """Name, metric and cut-off of all that can be had from what is known."""
    for metric in METRICS.values():
        if set(metric.needs) <= set(known):
            for cutoff in k if metric.name.endswith("@K") else (None,):
                yield metric.name.replace("@K", f"@{cutoff}"), metric, cutoff


def _reciprocal_rank(rank: np.ndarray, k: float = np.inf) -> np.ndarray:
    return (rank <= k) / rank


def _ndcg(rank: np.ndarray, k: int) -> np.ndarray:
    return (rank <= k) / np.log2(1 + rank)


def _kept_share(rank: np.ndarray, skip_rank: np.ndarray, k: int) -> np.ndarray:
    """NaN where neither is found: what a model shows to nobody says nothing about its taste."""
    kept, skipped = rank <= k, skip_rank <= k
    return np.where(kept | skipped, (1.0 + kept - skipped) / 2, np.nan)


def _difference(gain: Callable) -> Callable:
    """The mean of those with a kept target less that of those with a skipped one, by example."""

    def values(rank: np.ndarray, skip_rank: np.ndarray, k: int) -> np.ndarray:
        total = np.zeros(len(rank))
        for ranks, sign in ((rank, 1), (skip_rank, -1)):
            known = ~np.isnan(ranks)
            share = known.mean() or np.nan  # a mean over all that is the mean over the known ones
            total += sign * gain(np.where(known, ranks, np.inf), k) / share
        return total

    return values


def _coverage(top_items: np.ndarray, num_items: int, k: int) -> float:
    return np.count_nonzero(np.unique(top_items[:, :k])) / num_items


_SKIP = ("skip_target",)
_SKIP_HR = "how often the next skipped item is among the first K"
_KEPT = (
    "where the next kept or skipped item is among the first K: how often the kept one, both half"
)
_AUC = "how often the next kept item scores above the next skipped one, ties half"
_DIFFERENCE = "the HR of the next kept item less that of the next skipped one"
_NDCG_DIFFERENCE = "the NDCG of the next kept item less that of the next skipped one"
_COVERAGE = "the share of the catalogue that is among the first K of at least one ranking"
for _metric in (
    Metric("hr@K", "HR", np.less_equal, "how often the next kept item is among the first K"),
    Metric("ndcg@K", "NDCG", _ndcg, "1 / log2(1 + rank) of the next kept item, 0 beyond K"),
    Metric("mrr@K", "MRR", _reciprocal_rank, "as mrr, 0 beyond K", in_reports=False),
    Metric("map@K", "MAP", _reciprocal_rank, "equal to mrr@K with one target", in_reports=False),
    Metric("mrr", "MRR", _reciprocal_rank, "1 / rank of the next kept item"),
    Metric("skip_hr@K", "skip HR", np.less_equal, _SKIP_HR, _SKIP, False),
    Metric(
        "skip_mrr", "skip MRR", _reciprocal_rank, "1 / rank of the next skipped item", _SKIP, False
    ),
    Metric("kept_share@K", "kept share", _kept_share, _KEPT, ("target", "skip_target")),
    Metric(
        "hr_difference@K",
        "HR difference",
        _difference(np.less_equal),
        _DIFFERENCE,
        ("target", "skip_target"),
        in_reports=False,
        needs_all=False,
    ),
    Metric(
        "ndcg_difference@K",
        "NDCG difference",
        _difference(_ndcg),
        _NDCG_DIFFERENCE,
        ("target", "skip_target"),
        in_reports=False,
        needs_all=False,
    ),
    Metric("feedback_auc", "feedback AUC", np.asarray, _AUC, ("preference",)),
    Metric("coverage@K", "coverage", _coverage, _COVERAGE, _OF_ALL),
):
    METRICS[_metric.name] = _metric
_OWN = frozenset(METRICS)


class Metrics(dict):
    """Metrics by their names, a dict of floats that prints as a table of four decimals.

    Example:

    >>> metrics = {"hr@5": 0.25, "hr@10": 1 / 3, "skip_mrr": 0.1, "num_examples": 1200.0}
    >>> keras_negrec.evaluation.Metrics(metrics)
    metric                       @5      @10  better
    hr                       0.2500   0.3333  higher
    skip_mrr        0.1000                    lower
    num_examples     1,200
    """

    def __repr__(self) -> str:
        rows: dict[str, dict[int, str]] = {"metric": {}}
        better = {"metric": "better"}
        for name, value in self.items():
            base, _, cutoff = name.partition("@")
            text = f"{value:,.0f}" if "num_" in base or abs(value) >= 1000 else f"{value:.4f}"
            rows.setdefault(base, {})[int(cutoff or 0)] = "-" if math.isnan(value) else text
            rows["metric"][int(cutoff or 0)] = f"@{cutoff}" if cutoff else ""
            own = base.removeprefix("sampled_")
            metric = METRICS.get(own, METRICS.get(f"{own}@K"))
            better[base] = "" if metric is None else metric.better
        first = max(map(len, rows))

        def block(columns):
            for name, row in rows.items():
                if row.keys() & set(columns):
                    cells = "".join(f"{row.get(cutoff, ''):>9}" for cutoff in columns)
                    yield f"{name:<{first}}{cells}  {better[name]}".rstrip()

        cutoffs, at_once = sorted(rows["metric"]), (80 - first - len("  higher")) // 9
        starts = range(0, len(cutoffs), at_once)
        return "\n\n".join("\n".join(block(cutoffs[i : i + at_once])) for i in starts)


def ranking_metrics(
    ranks: Mapping[str, np.ndarray],
    *,
    k: Sequence[int] = (1, 5, 10, 20),
    num_items: int | None = None,
) -> Metrics:
    """The metrics of `evaluate` from ranks that are already there.

    Args:
        ranks: dict of arrays from `rank_targets`.
        k: ints. The cut-offs K.
        num_items: int or None. Size of the catalogue. With it, and with `top_items` in the
            ranks, `coverage@K` is among the metrics.

    Raises:
        ValueError: a cut-off that is not a positive integer, or beyond the `top_k` of the ranks.

    Example:

    >>> ranks = {"target": np.array([1.0, 4.0]), "skip_target": np.array([2.0, np.nan])}
    >>> metrics = keras_negrec.evaluation.ranking_metrics(ranks, k=[2])
    >>> metrics["hr@2"], metrics["mrr"], metrics["skip_hr@2"]
    (0.5, 0.625, 1.0)
    """
    k = check_positive_ints("k", k)
    known: dict[str, Any] = dict(ranks)
    if num_items is not None and "top_items" in ranks:
        known["num_items"] = check_positive_int("num_items", num_items)
        num_first = ranks["top_items"].shape[1]
        if k and num_first < min(max(k), num_items):
            raise ValueError(
                f"`k` must not go beyond the {num_first} first items in `ranks`. Received: k={k}"
            )
    metrics = Metrics()
    for name, metric, cutoff in named_metrics(k, known):
        values = metric.values(known, cutoff)
        values = values[~np.isnan(values)]
        metrics[name] = float(values.mean()) if len(values) else math.nan
    for name, ranked in (("num_examples", "target"), ("num_skip_examples", "skip_target")):
        metrics[name] = float(np.count_nonzero(~np.isnan(ranks[ranked])))
    return metrics


def example_metrics(
    ranks: Mapping[str, np.ndarray], *, k: Sequence[int] = (1, 5, 10, 20)
) -> dict[str, np.ndarray]:
    """What each example adds to the metrics of `ranking_metrics`, for paired tests and breakdowns.

    Returns:
        Dict of float64 arrays of shape `(num_examples,)`, NaN for an example without the target or
        the skip target that the metric needs, and in `kept_share@K` for one with neither among the
        first K. It is then no part of the mean.

    Example:

    >>> ranks = {"target": np.array([1.0, 4.0]), "skip_target": np.array([2.0, np.nan])}
    >>> values = keras_negrec.evaluation.example_metrics(ranks, k=[2])
    >>> values["mrr"], values["skip_hr@2"]
    (array([1.  , 0.25]), array([ 1., nan]))
    """
    return {
        name: metric.values(ranks, cutoff)
        for name, metric, cutoff in named_metrics(check_positive_ints("k", k), ranks)
        if metric.of_examples
    }
