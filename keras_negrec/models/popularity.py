"""The popularity baseline."""

from __future__ import annotations

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Sessions


class Popularity:
    """Scores every item by how often it was kept in training, whoever asks.

    Args:
        sessions: `Sessions`, the training events.
        num_items: int. Size of the catalogue.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 2, 3]], [[1, 1, 1, -1]])
    >>> keras_negrec.models.Popularity(sessions, num_items=3).score(sessions)
    array([[1., 2., 0.]], dtype=float32)
    """

    def __init__(self, sessions: Sessions, num_items: int):
        self.num_items = check_positive_int("num_items", num_items)
        kept = sessions.item_ids[sessions.feedback > 0]
        self.counts = np.bincount(kept - 1, minlength=num_items).astype("float32")

    def score(self, histories: Sessions) -> np.ndarray:
        """float32 array of shape `(num_rows, num_items)`, column `j` for item `j + 1`."""
        return np.repeat(self.counts[np.newaxis], len(histories), axis=0)
