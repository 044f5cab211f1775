"""Recommendations for raw histories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.evaluation.top_columns import top_columns
from keras_negrec.serving.further_inputs import further_inputs
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
    **columns: Sequence[Sequence],
) -> list[list[Recommendation]]:
    """The k best next items for each history, also of listeners never seen in training.

    Items of a history that the vocabulary does not know are passed over. A history without a known
    item, because it is empty or knows none of them, is answered with what the model gives for no
    history, as the exported model does: mostly what is popular.

    Args:
        model: a model of this package.
        histories: for each listener the external ids of their events, oldest first.
        k: int. How many items to recommend; fewer come back where fewer are left.
        feedback: for each listener one value -2 to 2 an event; all events are taken as kept
            (+1) when not given.
        exclude_seen: bool. Whether items of the history are never recommended. Skipped items
            belong to the history.
        vocabulary: `Vocabulary`. Default: the model's own.
        **columns: further event columns by name, such as `session_ids`: for each listener one
            value an event. Those that the model sees and that are not given are 0.

    Returns:
        For each history a list of `Recommendation(item, score)`, best first; of equal scores
        the more frequent item comes first.

    Raises:
        ValueError: feedback outside of -2..2; a column of another length than its history; a model
            without a vocabulary where none is given.
        TypeError: ids of another type than the vocabulary's; an unknown column.

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
    if len(histories) == 0:
        return []
    sessions = _sessions(model, histories, {"feedback": feedback, **columns}, vocabulary)
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


def _sessions(model, histories, columns: dict, vocabulary: Vocabulary) -> Sessions:
    """The known events of the histories."""
    unknown = set(columns) - (set(EVENT_COLUMNS) - {"item_ids"})
    if unknown:
        raise TypeError(
            f"Event columns are {', '.join(sorted(EVENT_COLUMNS))}; "
            "`keras_negrec.data.register_event_column` makes one more known. Received: "
            f"{', '.join(sorted(unknown))}"
        )
    lengths = [len(history) for history in histories]
    encoded = [vocabulary.encode(history, unknown="zero") for history in histories if len(history)]
    ids = np.concatenate([np.zeros(0, "int32"), *encoded])
    known = ids > 0
    events = {"item_ids": ids[known]}
    for column in further_inputs(model):
        events[column.name] = np.zeros(len(events["item_ids"]), column.dtype)
    for name, rows in columns.items():
        fill = 1 if name == "feedback" else 0
        rows = [[fill] * length for length in lengths] if rows is None else rows
        events[name] = _values(name, rows, lengths)[known]
    rows = np.repeat(np.arange(len(histories)), lengths)[known]
    row_splits = np.searchsorted(rows, np.arange(len(histories) + 1))
    return Sessions(events, row_splits.astype("int64"), np.arange(len(histories)))


def _values(name: str, rows: Sequence[Sequence], lengths: list[int]) -> np.ndarray:
    """All values of a column, one after the other."""
    if len(rows) != len(lengths):
        raise ValueError(
            f"`{name}` must have one list for each of the {len(lengths)} histories. "
            f"Received: {len(rows)}"
        )
    dtype = np.dtype(EVENT_COLUMNS[name].dtype)
    what = "integers from -2 to 2" if name == "feedback" else f"{dtype.name} values"
    flat = [np.zeros(0, dtype)]
    for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        values = np.asarray(row) if len(row) else flat[0]
        fits = values.shape == (length,) and values.dtype.kind in "iuf"
        if fits and dtype.kind in "iu":
            fits = np.array_equal(values.astype(dtype), values)
        if not fits or (name == "feedback" and length and np.abs(values).max() > 2):
            raise ValueError(
                f"`{name}` of history {i} must hold {length} {what}. Received: {row!r:.200}"
            )
        flat.append(values.astype(dtype))
    return np.concatenate(flat)
