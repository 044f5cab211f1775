"""The popularity baseline."""

from __future__ import annotations

import numpy as np

from keras_negrec.argument_checks import check_num_items
from keras_negrec.data import Sessions, TrainingData, Vocabulary


class Popularity:
    """Scores every item by how often it was kept in training, whoever asks.

    Args:
        sessions: `Sessions` or `Prepared`, the training events.
        num_items: int. Size of the catalogue. Default: that of `vocabulary`.
        vocabulary: `Vocabulary` or None. What `recommend` answers with.

    Raises:
        ValueError: an item id above `num_items`, or `num_items` or the sessions' vocabulary
            against `vocabulary`.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 2, 3]], [[1, 1, 1, -1]])
    >>> keras_negrec.models.Popularity(sessions, num_items=3).score(sessions)
    array([[1., 2., 0.]], dtype=float32)
    """

    def __init__(
        self,
        sessions: TrainingData,
        num_items: int | None = None,
        *,
        vocabulary: Vocabulary | None = None,
    ):
        self.num_items = check_num_items(num_items, vocabulary)
        self.vocabulary = vocabulary
        sessions.check_catalogue(self.num_items, vocabulary)
        self.counts = sessions.item_counts(self.num_items, positive=True).astype("float32")

    def score(self, histories: Sessions) -> np.ndarray:
        """float32 array of shape `(num_rows, num_items)`, column `j` for item `j + 1`."""
        return np.repeat(self.counts[np.newaxis], len(histories), axis=0)
