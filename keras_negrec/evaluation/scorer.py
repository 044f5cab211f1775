"""What evaluation asks of a model."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from keras_negrec.data import Sessions


class Scorer(Protocol):
    """Anything that scores the whole catalogue after a history."""

    num_items: int

    def score(self, histories: Sessions) -> np.ndarray:
        """float array of shape `(num_rows, num_items)`, column `j` for item `j + 1`."""
