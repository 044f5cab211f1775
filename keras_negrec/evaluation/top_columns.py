"""The best of a row of scores, without sorting it."""

from __future__ import annotations

import numpy as np


def top_columns(scores: np.ndarray, k: int) -> np.ndarray:
    """The columns with the highest scores, best first, equal scores by column.

    Args:
        scores: float array of shape `(num_items,)`, not NaN.
        k: int. The most columns that are returned.

    Returns:
        int array of at most `k` columns; those whose score is minus infinity are not among them.
    """
    k = min(k, len(scores))
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > threshold)
    equal = np.flatnonzero(scores == threshold)[: k - len(above)]
    best = np.concatenate([above, equal])
    best = best[scores[best] > -np.inf]
    return best[np.argsort(-scores[best], kind="stable")]
