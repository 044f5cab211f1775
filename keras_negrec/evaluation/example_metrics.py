"""Figures of merit of single examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keras_negrec.argument_checks import check_positive_ints


def example_metrics(
    ranks: Mapping[str, np.ndarray], *, k: Sequence[int] = (1, 5, 10, 20)
) -> dict[str, np.ndarray]:
    """What each example adds to the figures of `evaluate`, for paired tests and breakdowns.

    Args:
        ranks: dict of arrays from `rank_targets`: `target`, `skip_target`, `preference`.
        k: ints. The cut-offs K.

    Returns:
        Dict of float64 arrays of shape `(num_examples,)`, the values whose means are the figures
        of the same names; see `evaluate`. `skip_hr@K`, `skip_mrr` and `feedback_auc` are NaN
        for an example without a skip target, and no part of the mean.

    Raises:
        ValueError: a cut-off that is not a positive integer.

    Example:

    >>> ranks = {
    ...     "target": np.array([1.0, 4.0]),
    ...     "skip_target": np.array([2.0, np.nan]),
    ...     "preference": np.array([1.0, np.nan]),
    ... }
    >>> values = keras_negrec.evaluation.example_metrics(ranks, k=[2])
    >>> values["mrr"], values["skip_hr@2"]
    (array([1.  , 0.25]), array([ 1., nan]))
    """
    k = check_positive_ints("k", k)
    targets = np.asarray(ranks["target"], "float64")
    skips = np.asarray(ranks["skip_target"], "float64")
    reciprocal = 1 / targets
    values = {f"hr@{cutoff}": (targets <= cutoff).astype("float64") for cutoff in k}
    for cutoff in k:
        values[f"ndcg@{cutoff}"] = (targets <= cutoff) / np.log2(1 + targets)
    for cutoff in k:
        values[f"mrr@{cutoff}"] = (targets <= cutoff) * reciprocal
    for cutoff in k:
        values[f"map@{cutoff}"] = values[f"mrr@{cutoff}"].copy()
    values["mrr"] = reciprocal
    for cutoff in k:
        values[f"skip_hr@{cutoff}"] = np.where(np.isnan(skips), np.nan, skips <= cutoff)
    values["skip_mrr"] = 1 / skips
    values["feedback_auc"] = np.array(ranks["preference"], "float64")
    return values
