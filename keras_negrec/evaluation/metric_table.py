"""Which metrics of a ranking there are, said in this one place."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np

from keras_negrec.argument_checks import check_choice

NEEDS = ("target", "skip_target", "preference", "top_items", "num_items")


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

    @property
    def at_cutoffs(self) -> bool:
        """Whether it has one value for each cut-off K."""
        return self.name.endswith("@K")

    @property
    def better(self) -> str:
        return "higher" if self.higher_is_better else "lower"

    @property
    def of_examples(self) -> bool:
        """Whether it has a value for each example, from the ranks of its targets alone."""
        return not {"top_items", "num_items"} & set(self.needs)

    def values(self, ranks, cutoff: int | None) -> np.ndarray:
        """Its value for each example, NaN where what it needs is not known; or one for all."""
        of_cutoff = () if cutoff is None else (cutoff,)
        if not self.of_examples:
            return np.asarray(self.function(*(ranks[need] for need in self.needs), *of_cutoff))
        needed = [np.asarray(ranks[need], "float64") for need in self.needs]
        known = ~np.isnan(needed).any(axis=0)
        values = np.full(known.shape, np.nan)
        if known.any():
            values[known] = self.function(*(each[known] for each in needed), *of_cutoff)
        return values


METRICS: dict[str, Metric] = {}  # filled in below, and by `register_metric`


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
        function: gets an array for each of `needs`, in that order, and where the name ends in
            `@K` the cut-off last. It returns the values whose mean is the metric: an array with one
            for each example, or one number for all.
        label: str. What it says, in a sentence.
        needs: of `"target"` and `"skip_target"`, float arrays with the ranks of the next kept and
            the next skipped item; `"preference"`, whether the first of them scored higher;
            `"top_items"`, int array of shape `(num_examples, k)` with the first items, best
            first, for the largest cut-off; and `"num_items"`, an int. Only examples that have all
            of the first three that it needs count. `compare` has no metric that needs one of the
            last two.
        higher_is_better: bool.
        title: str or None. What charts and tables call it, without its cut-off. Default: its name.
        in_reports: bool. Whether comparisons show it where they aren't asked for it.

    Returns:
        The `Metric`.

    Raises:
        ValueError: a name that is no identifier, or that of a metric of this package; an unknown
            need.

    Example:

    >>> metric = keras_negrec.evaluation.register_metric(
    ...     "median_hit@K",
    ...     lambda target, k: target <= k / 2,
    ...     label="share of examples whose next kept item is in the better half of the first K",
    ... )
    >>> ranks = {"target": np.array([1.0, 4.0])}
    >>> keras_negrec.evaluation.example_metrics(ranks, k=[4])["median_hit@4"]
    array([1., 0.])
    >>> keras_negrec.evaluation.unregister_metric("median_hit@K")
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
        check_choice("needs", need, NEEDS)
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
    """Name, metric and cut-off of all that can be had from what is known, of `NEEDS`."""
    for metric in METRICS.values():
        if set(metric.needs) <= set(known):
            for cutoff in k if metric.at_cutoffs else (None,):
                yield metric.name.replace("@K", f"@{cutoff}"), metric, cutoff


def _hit_rate(rank: np.ndarray, k: int) -> np.ndarray:
    return rank <= k


def _reciprocal_rank(rank: np.ndarray, k: float = np.inf) -> np.ndarray:
    return (rank <= k) / rank


def _ndcg(rank: np.ndarray, k: int) -> np.ndarray:
    return (rank <= k) / np.log2(1 + rank)


def _coverage(top_items: np.ndarray, num_items: int, k: int) -> float:
    return np.count_nonzero(np.unique(top_items[:, :k])) / num_items


_SKIP, _BOTH, _FIRST = ("skip_target",), ("preference",), ("top_items", "num_items")
_MRR_AT, _MAP_AT = "1 / rank of the next kept item, 0 beyond K", "equal to mrr@K with one target"
_SKIP_HR = "how often the next skipped item is among the first K"
_SKIP_MRR = "1 / rank of the next skipped item"
_AUC = "how often the next kept item scores above the next skipped one, ties half"
_COVERAGE = "the share of the catalogue that is among the first K of at least one ranking"
for _metric in (
    Metric("hr@K", "HR", _hit_rate, "how often the next kept item is among the first K"),
    Metric("ndcg@K", "NDCG", _ndcg, "1 / log2(1 + rank) of the next kept item, 0 beyond K"),
    Metric("mrr@K", "MRR", _reciprocal_rank, _MRR_AT, in_reports=False),
    Metric("map@K", "MAP", _reciprocal_rank, _MAP_AT, in_reports=False),
    Metric("mrr", "MRR", _reciprocal_rank, "1 / rank of the next kept item"),
    Metric("skip_hr@K", "skip HR", _hit_rate, _SKIP_HR, _SKIP, higher_is_better=False),
    Metric("skip_mrr", "skip MRR", _reciprocal_rank, _SKIP_MRR, _SKIP, higher_is_better=False),
    Metric("feedback_auc", "feedback AUC", np.asarray, _AUC, _BOTH),
    Metric("coverage@K", "coverage", _coverage, _COVERAGE, _FIRST),
):
    METRICS[_metric.name] = _metric
_OWN = frozenset(METRICS)
