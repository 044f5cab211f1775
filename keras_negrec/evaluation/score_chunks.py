"""Scores of the whole catalogue, as many rows at once as fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Sessions
from keras_negrec.evaluation.scorer import Scorer

_SCORES_AT_ONCE = 2**25  # 128 MB of float32


def score_chunks(
    model: Scorer, histories: Sessions, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scores the catalogue after each history, at most `batch_size` histories at a time.

    Yields:
        The rows of the chunk, and a new float32 array of shape `(len(rows), num_items)`.
    """
    check_positive_int("batch_size", batch_size)
    batch_size = max(1, min(batch_size, _SCORES_AT_ONCE // model.num_items))
    for start in range(0, len(histories), batch_size):
        rows = np.arange(start, min(start + batch_size, len(histories)))
        chunk = histories.take(rows)
        scores = np.array(model.score(chunk), dtype="float32")
        if scores.shape != (len(rows), model.num_items):
            raise ValueError(
                f"`score` must return shape {(len(rows), model.num_items)}. Received: "
                f"{scores.shape}"
            )
        if np.isnan(scores).any():
            raise ValueError(
                "Scores must not be NaN. Received NaN for the history "
                f"{chunk.keys[np.isnan(scores).any(axis=1).argmax()]!r}."
            )
        yield rows, scores
