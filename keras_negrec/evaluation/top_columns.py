"""The best of a row of scores, without sorting it."""

from __future__ import annotations

import numpy as np


def top_columns(scores: np.ndarray, k: int) -> np.ndarray:
    """At most `k` columns with the highest scores, best first, equal scores by column.

    Those whose score is minus infinity are not among them.
    """
    k = min(k, len(scores))
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > threshold)
    equal = np.flatnonzero(scores == threshold)[: k - len(above)]
    best = np.concatenate([above, equal])
    best = best[scores[best] > -np.inf]
    return best[np.argsort(-scores[best], kind="stable")]
