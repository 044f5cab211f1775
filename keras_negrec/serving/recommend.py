"""Recommendations for raw histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.data.event_columns import EVENT_COLUMNS, EventColumn, in_seconds
from keras_negrec.evaluation.top_columns import top_columns


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
    exclude_seen: bool | None = None,
    ranking_weights: Mapping[str, float] | None = None,
    vocabulary: Vocabulary | None = None,
    **columns: Sequence[Sequence],
) -> list[list[Recommendation]]:
    """The k best next items for each history, also of listeners never seen in training.

    Items of a history that the vocabulary does not know are passed over. A history without a known
    item is answered with what the model gives for no history: mostly what is popular.

    Args:
        model: a model of this package.
        histories: for each listener the external ids of their events, oldest first.
        k: int. How many items to recommend; fewer come back where fewer are left.
        feedback: for each listener one value -2 to 2 an event. Default: all events were kept (+1).
        exclude_seen: bool or None. Whether items of the history, skipped ones too, are left out;
            None is the model's own setting.
        ranking_weights: how much feedback terms of the model count in the ranking, by name, such
            as `{"keep": 2.0}`. Default: the model's own.
        vocabulary: `Vocabulary`. Default: the model's own.
        **columns: further event columns by name, such as `session_ids` or `timestamps`: for each
            listener one value an event, or one for all of them. Those that the model sees
            and that are not given are 0. Times are seconds since 1970, or datetimes in UTC;
            `request_timestamps` says when the recommendation is asked for.

    Returns:
        For each history a list of `Recommendation(item, score)`, best first; of equal scores
        the more frequent item comes first. Items that the vocabulary has retired never come.

    Raises:
        ValueError: feedback outside of -2..2; a column of another length; no vocabulary; scores
            that are NaN.
        TypeError: ids of another type than the vocabulary's; an unknown column.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> model = keras_negrec.build_model("sasrec", vocabulary=vocabulary)
    >>> keras_negrec.recommend(model, [["intro", "verse"]])[0][0].item
    'outro'
    """
    check_positive_int("k", k)
    vocabulary = vocabulary_of(model, vocabulary)
    if any(isinstance(history, (str, bytes)) for history in histories):
        raise TypeError(
            f"`histories` must be a list of lists of item ids. Received: {histories!r:.100}"
        )
    if len(histories) == 0:
        return []
    names = set(EVENT_COLUMNS) - {"item_ids"}
    if unknown := sorted(set(columns) - names):
        raise TypeError(
            f"Event columns are {', '.join(sorted(names))}; `register_event_column` of "
            f"`keras_negrec.data` makes one more known. Received: {', '.join(unknown)}"
        )
    # All events of all histories, one after the other.
    lengths = [len(history) for history in histories]
    encoded = [vocabulary.encode(history, unknown="zero") for history in histories if len(history)]
    ids = np.concatenate([np.zeros(0, "int32"), *encoded])
    events = {each.name: np.zeros(len(ids), each.dtype) for each in further_inputs(model)}
    events["feedback"] = np.ones(len(ids), "int8")
    for name, values in {"feedback": feedback, **columns}.items():
        if values is not None:
            events[name] = _values(name, values, lengths)
    known = ids > 0
    rows = np.repeat(np.arange(len(histories)), lengths)[known]
    sessions = Sessions(
        {name: values[known] for name, values in {"item_ids": ids, **events}.items()},
        np.searchsorted(rows, np.arange(len(histories) + 1)),
        np.arange(len(histories)),
    )
    options = {"ranking_weights": ranking_weights} if ranking_weights else {}
    scores = np.array(model.score(sessions, **options))  # a copy: the model may hand out its own
    if np.isnan(scores).any():
        raise ValueError("Scores must be numbers. Received NaN, as of weights that are not finite.")
    if getattr(model, "exclude_seen", True) if exclude_seen is None else exclude_seen:
        scores[rows, sessions.item_ids - 1] = -np.inf
    scores[:, vocabulary.retired_ids - 1] = -np.inf
    return [
        [
            Recommendation(item, float(score))
            for item, score in zip(vocabulary.decode(best + 1).tolist(), row[best], strict=True)
        ]
        for row in scores
        for best in [top_columns(row, k)]
    ]


def _values(name: str, rows: Sequence[Sequence], lengths: list[int]) -> np.ndarray:
    """All values of a column, one after the other."""
    if len(rows) != len(lengths):
        raise ValueError(
            f"`{name}` must have one list for each of the {len(lengths)} histories. "
            f"Received: {len(rows)}"
        )
    dtype = np.dtype(EVENT_COLUMNS[name].dtype)
    flat = [np.zeros(0, dtype)]
    for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        values = np.asarray(row) if np.size(row) else flat[0]
        values = np.repeat(values, length) if values.size == 1 else values
        if EVENT_COLUMNS[name].is_time and values.dtype.kind in "MO":
            values = in_seconds(values.astype("datetime64[us]"))
        fits = values.shape == (length,) and values.dtype.kind in "iuf"
        if not fits or not np.allclose(values.astype(dtype), values, equal_nan=True):
            raise ValueError(
                f"`{name}` of history {i} must hold {length} {dtype.name} values. "
                f"Received: {row!r:.200}"
            )
        flat.append(values.astype(dtype))
    return np.concatenate(flat)


def further_inputs(model) -> list[EventColumn]:
    """The further columns that the model's encoder sees; they are 0 where a request has none."""
    parts = [getattr(each, "serving_model", None) for each in getattr(model, "models", [model])]
    names = dict.fromkeys(name for part in parts for name in getattr(part, "input", ()))
    return [EVENT_COLUMNS[name] for name in names if name not in ("item_ids", "feedback")]


def vocabulary_of(model, vocabulary: Vocabulary | None) -> Vocabulary:
    """The vocabulary that was given, else the model's own."""
    vocabulary = vocabulary or getattr(model, "vocabulary", None)
    if vocabulary is None:
        raise ValueError("The model has no vocabulary. Build it with one, or pass `vocabulary=`.")
    return vocabulary
