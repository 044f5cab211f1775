"""Metrics from ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_negrec.argument_checks import check_positive_int, check_positive_ints
from keras_negrec.evaluation.metric_table import named_metrics
from keras_negrec.evaluation.metrics import Metrics


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

    Returns:
        `Metrics`, a dict of floats. Metrics that rest on no example are NaN.

    Raises:
        ValueError: a cut-off that is not a positive integer, or that is larger than the
            `top_k` the ranks were made with.

    Example:

    >>> ranks = {
    ...     "target": np.array([1.0, 4.0]),
    ...     "skip_target": np.array([2.0, np.nan]),
    ...     "preference": np.array([1.0, np.nan]),
    ... }
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
        metrics[name] = _mean(metric.values(known, cutoff))
    for name, ranked in (("num_examples", "target"), ("num_skip_examples", "skip_target")):
        metrics[name] = float(np.count_nonzero(~np.isnan(ranks[ranked])))
    return metrics


def example_metrics(
    ranks: Mapping[str, np.ndarray], *, k: Sequence[int] = (1, 5, 10, 20)
) -> dict[str, np.ndarray]:
    """What each example adds to the metrics of `evaluate`, for paired tests and breakdowns.

    Args:
        ranks: dict of arrays from `rank_targets`: `target`, `skip_target`, `preference`.
        k: ints. The cut-offs K.

    Returns:
        Dict of float64 arrays of shape `(num_examples,)`, the values whose means are the metrics
        of the same names; see `evaluate`. They are NaN for an example without the target or
        the skip target that the metric needs, which is then no part of the mean.

    Raises:
        ValueError: a cut-off that is not a positive integer.

    Example:

    >>> ranks = {"target": np.array([1.0, 4.0]), "skip_target": np.array([2.0, np.nan])}
    >>> values = keras_negrec.evaluation.example_metrics(ranks, k=[2])
    >>> values["mrr"], values["skip_hr@2"]
    (array([1.  , 0.25]), array([ 1., nan]))
    """
    k = check_positive_ints("k", k)
    return {
        name: metric.values(ranks, cutoff)
        for name, metric, cutoff in named_metrics(k, ranks)
        if metric.of_examples
    }


def _mean(values: np.ndarray) -> float:
    """The mean without NaN, and without NumPy's warning where nothing remains."""
    values = values[~np.isnan(values)]
    return float(np.mean(values)) if len(values) else float("nan")
