"""Recommendations for raw histories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.evaluation.top_columns import top_columns
from keras_negrec.serving.vocabulary_of import vocabulary_of


class Recommendation(NamedTuple):
    """An item by its external id, and its score."""

    item: str | int
    score: float


def recommend(
    model,
    histories: Sequence[Sequence],
    k: int = 10,
    *,
    feedback: Sequence[Sequence[int]] | None = None,
    exclude_seen: bool = True,
    vocabulary: Vocabulary | None = None,
) -> list[list[Recommendation]]:
    """The k best next items for each history, also of listeners never seen in training.

    Items of a history that the vocabulary does not know are passed over; a history of such
    items only is answered like one of a new listener.

    Args:
        model: a model of this package.
        histories: for each listener the external ids of their events, oldest first.
        k: int. How many items to recommend; fewer come back where fewer are left.
        feedback: for each listener one value -2 to 2 an event; all events are taken as kept
            (+1) when not given.
        exclude_seen: bool. Whether items of the history are never recommended. Skipped items
            belong to the history.
        vocabulary: `Vocabulary`. Default: the model's own.

    Returns:
        For each history a list of `Recommendation(item, score)`, best first; of equal scores
        the more frequent item comes first.

    Raises:
        ValueError: an empty history; feedback outside of -2..2 or of another length than its
            history; a model without a vocabulary where none is given.
        TypeError: ids of another type than the vocabulary's.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> model = keras_negrec.build_model("sasrec", vocabulary=vocabulary)
    >>> [best] = keras_negrec.recommend(model, [["intro", "verse"]], k=1)
    >>> best[0].item
    'outro'
    """
    check_positive_int("k", k)
    vocabulary = vocabulary_of(model, vocabulary)
    if isinstance(histories, (str, bytes)) or any(isinstance(h, (str, bytes)) for h in histories):
        raise TypeError(
            "`histories` must be a list of lists of item ids. Received a string where a list "
            f"was expected: {histories!r:.100}"
        )
    if feedback is None:
        feedback = [[1] * len(history) for history in histories]
    if len(feedback) != len(histories):
        raise ValueError(
            f"`feedback` must have one list for each of the {len(histories)} histories. "
            f"Received: {len(feedback)}"
        )
    known = [
        _known_events(i, history, values, vocabulary)
        for i, (history, values) in enumerate(zip(histories, feedback, strict=True))
    ]
    lengths = [len(ids) for ids, _ in known]
    sessions = Sessions(
        {
            "item_ids": np.concatenate([ids for ids, _ in known] or [np.zeros(0, "int32")]),
            "feedback": np.concatenate([values for _, values in known] or [np.zeros(0, "int8")]),
            "session_ids": np.zeros(sum(lengths), "int32"),
        },
        row_splits=np.concatenate([[0], np.cumsum(lengths)]).astype("int64"),
        keys=np.arange(len(known)),
    )
    if len(sessions) == 0:
        return []
    scores = np.array(model.score(sessions))  # a copy: the model may hand out its own
    if exclude_seen:
        scores[sessions.rows(), sessions.item_ids - 1] = -np.inf
    return [
        [
            Recommendation(item, float(score))
            for item, score in zip(vocabulary.decode(best + 1).tolist(), row[best], strict=True)
        ]
        for row in scores
        for best in [top_columns(row, k)]
    ]


def _known_events(i: int, history: Sequence, feedback: Sequence[int], vocabulary: Vocabulary):
    if len(history) == 0:
        raise ValueError(f"A history must have at least one event. History {i} is empty.")
    values = np.asarray(feedback)
    if len(values) != len(history) or values.dtype.kind not in "iu" or np.abs(values).max() > 2:
        raise ValueError(
            f"`feedback` of history {i} must hold {len(history)} integers from -2 to 2. "
            f"Received: {feedback!r:.200}"
        )
    ids = vocabulary.encode(history, unknown="zero")
    return ids[ids > 0], values[ids > 0].astype("int8")
