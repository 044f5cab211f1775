"""Ranks by counting."""

from __future__ import annotations

import numpy as np


def count_ranks(scores: np.ndarray, competes: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The rank of one column of each row among the columns that compete.

    1 plus the number of columns with a higher score, plus half the number of other columns with
    the same score.

    Args:
        scores: float array of shape `(num_rows, num_columns)`.
        competes: bool array of that shape.
        columns: int array of shape `(num_rows,)`.

    Returns:
        float64 array of shape `(num_rows,)`, infinite where the column itself does not compete.
    """
    each = np.arange(len(scores))
    own = scores[each, columns][:, np.newaxis]
    above = np.count_nonzero((scores > own) & competes, axis=1)
    equal = np.count_nonzero((scores == own) & competes, axis=1) - 1
    return np.where(competes[each, columns], 1 + above + equal / 2, np.inf)
