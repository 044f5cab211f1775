"""Figures of merit from ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.evaluation.example_metrics import example_metrics


def ranking_metrics(
    ranks: Mapping[str, np.ndarray],
    *,
    k: Sequence[int] = (1, 5, 10, 20),
    num_items: int | None = None,
) -> dict[str, float]:
    """The figures of `evaluate` from ranks that are already there.

    Args:
        ranks: dict of arrays from `rank_targets`.
        k: ints. The cut-offs K.
        num_items: int or None. Size of the catalogue. With it, and with `top_items` in the
            ranks, `coverage@K` is among the figures.

    Returns:
        Dict of floats. Figures that rest on no example are NaN.

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
    values = example_metrics(ranks, k=k)
    metrics = {name: _mean(of_examples) for name, of_examples in values.items()}
    if num_items is not None and "top_items" in ranks:
        check_positive_int("num_items", num_items)
        top_items = ranks["top_items"]
        for cutoff in k:
            if top_items.shape[1] < min(cutoff, num_items):
                raise ValueError(
                    f"`k` must not go beyond the {top_items.shape[1]} first items in `ranks`. "
                    f"Received: k={tuple(k)}"
                )
            recommended = np.unique(top_items[:, :cutoff])
            metrics[f"coverage@{cutoff}"] = float(np.count_nonzero(recommended) / num_items)
    metrics["num_examples"] = float(len(ranks["target"]))
    metrics["num_skip_examples"] = float(np.count_nonzero(~np.isnan(ranks["skip_target"])))
    return metrics


def _mean(values: np.ndarray) -> float:
    """The mean without NaN, and without NumPy's warning where nothing remains."""
    values = values[~np.isnan(values)]
    return float(np.mean(values)) if len(values) else float("nan")
