"""What evaluation asks of a model."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from keras_negrec.data import Sessions


class Scorer(Protocol):
    """Any object with `num_items` and `score`, which scores the whole catalogue."""

    num_items: int

    def score(self, histories: Sessions) -> np.ndarray:
        """float array of shape `(num_rows, num_items)`, column `j` for item `j + 1`."""


@runtime_checkable
class VectorScorer(Protocol):
    """A model whose scores are products of history vectors and item vectors.

    `rank_targets` makes these scores a block at a time, for any size of the catalogue. It does not
    ask such a model for its `score`, where it has one.
    """

    num_items: int

    def history_vectors(self, histories: Sessions) -> np.ndarray:
        """float array of shape `(num_rows, dim)`."""

    def item_vectors(self, rows: np.ndarray) -> Any:
        """float tensor of shape `(len(rows), dim)`, the vectors of these items, 0 the first."""
