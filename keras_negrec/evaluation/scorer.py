"""What evaluation asks of a model, and how it asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Examples, Sessions

_SCORES_AT_ONCE = 2**25  # 128 MB of float32


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


def excludes_seen(model: Any, examples: Examples, asked: bool | None = None) -> bool:
    """Whether items of the history are taken out of a ranking.

    As was asked for, else as the examples say, else as the model does, and else they are.
    """
    said = (asked, examples.exclude_seen, getattr(model, "exclude_seen", None))
    return next((bool(each) for each in said if each is not None), True)


def score_chunks(
    model: Scorer, histories: Sessions, batch_size: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Scores the catalogue, at most `batch_size` histories at a time and as many as memory holds.

    Yields:
        The rows of the chunk, and a new float32 array of shape `(num_rows, num_items)`.
    """
    check_positive_int("batch_size", batch_size)
    batch_size = max(1, min(batch_size, _SCORES_AT_ONCE // model.num_items))
    for start in range(0, len(histories), batch_size):
        rows = slice(start, min(start + batch_size, len(histories)))
        chunk = histories.take(np.arange(rows.start, rows.stop))
        scores = np.array(model.score(chunk), dtype="float32")
        if scores.shape != (len(chunk), model.num_items):
            raise ValueError(
                f"`score` must return shape {(len(chunk), model.num_items)}. Received: "
                f"{scores.shape}"
            )
        if np.isnan(scores).any():
            raise ValueError(
                "Scores must not be NaN. Received NaN for the history "
                f"{chunk.keys[np.isnan(scores).any(axis=1).argmax()]!r}."
            )
        yield rows, scores
