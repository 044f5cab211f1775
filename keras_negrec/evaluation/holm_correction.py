"""Correction of p values for how many there are."""

from __future__ import annotations

import numpy as np


def holm_correction(p_values) -> np.ndarray:
    """Adjusts p values so that the chance of one false alarm among all of them stays in hand.

    An adjusted value below 0.05 may be called significant at 5 %, however many comparisons were
    made and however they depend on each other.

    Args:
        p_values: floats from 0 to 1, the family. NaN stands for a test that was not made: it
            stays NaN and does not count.

    Returns:
        float64 array of the same shape.

    Raises:
        ValueError: a value outside of 0 to 1.

    Example:

    >>> keras_negrec.evaluation.holm_correction([0.25, 0.01, np.nan, 0.02])
    array([0.25, 0.03,  nan, 0.04])

    Reference:
        [Holm, 1979](https://www.jstor.org/stable/4615733)
    """
    p_values = np.asarray(p_values, "float64")
    made = ~np.isnan(p_values)
    p = p_values[made]
    if ((p < 0) | (p > 1)).any():
        raise ValueError(
            f"`p_values` must lie between 0 and 1. Received: {p[(p < 0) | (p > 1)][0]}"
        )
    order = np.argsort(p)
    steps = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    result = np.full(p_values.shape, np.nan)
    result[made] = adjusted
    return result
