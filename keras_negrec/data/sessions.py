"""Sessions in memory: one ragged row of events for each session or user."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_item_ids
from keras_negrec.data.event_columns import EVENT_COLUMNS, further_columns, in_seconds
from keras_negrec.data.logs.check_events import check_events
from keras_negrec.data.logs.order_events import order_events
from keras_negrec.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    import tensorflow as tf


class Sessions:
    """Rows of events in time order, stored flat: row `i` is `row_splits[i]:row_splits[i + 1]`.

    A row is one session, or the history of one user when `session_ids` tells its sessions
    apart. Build it with `Sessions.from_events` or `Sessions.from_lists`.

    Args:
        columns: dict of arrays of shape `(num_events,)`, one for each column of events:
            `item_ids`, ids from 1; `feedback`, values -2 to 2: +2 liked, +1 listened through, 0
            unknown, -1 skipped, -2 disliked; optionally `session_ids`, the index of the event's
            session inside its row, from 0 and never decreasing; `timestamps`, when it was, in
            seconds since 1970 (numbers from 1e11 on are taken for milliseconds, from 1e14 on for
            microseconds, from 1e17 on for nanoseconds), and `request_timestamps`, when what
            followed was asked for, by default when the next event of the row was; and any other
            that `keras_negrec.data.register_event_column` has made known.
        row_splits: int64 array of shape `(num_rows + 1,)`, from 0 to `num_events`.
        keys: array of shape `(num_rows,)`, the external id of each row.

    Raises:
        ValueError: unknown or missing columns, shapes that do not fit, values out of range.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[3, 1, 2], [2]], [[1, -1, 1], [2]])
    >>> sessions.lengths
    array([3, 1])
    >>> sessions.padded(2)["item_ids"].tolist()
    [[1, 2], [0, 2]]
    """

    def __init__(self, columns: Mapping[str, np.ndarray], row_splits: np.ndarray, keys: np.ndarray):
        if not {"item_ids", "feedback"} <= set(columns) <= set(EVENT_COLUMNS):
            raise ValueError(
                "`columns` must have `item_ids` and `feedback`, and may have others of "
                f"{sorted(EVENT_COLUMNS)}. Received: {sorted(columns)}"
            )
        self.row_splits = splits = np.asarray(row_splits, "int64")
        self.keys = keys
        # In the order of the registry, so that the same columns are the same sessions.
        self.columns: dict[str, np.ndarray] = {}
        for name, column in EVENT_COLUMNS.items():
            if name in columns:
                values = in_seconds(columns[name]) if column.is_time else columns[name]
                self.columns[name] = np.asarray(values, column.dtype)
            elif column.next_of in self.columns:
                values = self.columns[column.next_of]
                self.columns[name] = np.append(values[1:], values[-1:])
                ends = splits[1:][np.diff(splits) > 0] - 1
                self.columns[name][ends] = values[ends]
        spans = len(splits) and splits[0] == 0 and splits[-1] == self.num_events
        if not spans or (np.diff(splits) < 0).any():
            raise ValueError(
                f"`row_splits` must rise from 0 to the number of events, {self.num_events}. "
                f"Received: {splits}"
            )
        for name, values in {**self.columns, "keys": keys}.items():
            number, kind = (len(self), "rows") if name == "keys" else (self.num_events, "events")
            if len(values) != number:
                raise ValueError(
                    f"`{name}` must have one value for each of the {number} {kind}. "
                    f"Received: {len(values)} values."
                )
        for name, wrong, rule in (
            ("item_ids", self.item_ids < 1, "Item ids start at 1 (0 is padding)."),
            ("feedback", np.abs(self.feedback) > 2, "Feedback must be -2, -1, 0, 1 or 2."),
        ):
            for event in np.flatnonzero(wrong)[:1]:
                row = int(np.searchsorted(splits, event, side="right")) - 1
                raise ValueError(
                    f"{rule} Received {self.columns[name][event]} in row {keys[row]}, event "
                    f"{event - splits[row]}."
                )

    @property
    def item_ids(self) -> np.ndarray:
        """Item ids, from 1: int32 `(num_events,)`."""
        return self.columns["item_ids"]

    @property
    def feedback(self) -> np.ndarray:
        """How each event was received, -2 to 2: int8 `(num_events,)`."""
        return self.columns["feedback"]

    @property
    def session_ids(self) -> np.ndarray | None:
        """The session of each event inside its row: int32 `(num_events,)`, or None."""
        return self.columns.get("session_ids")

    @classmethod
    def from_lists(
        cls,
        item_ids: Sequence[Sequence[int]],
        feedback: Sequence[Sequence[int]] | None = None,
        session_ids: Sequence[Sequence[int]] | None = None,
        keys: Sequence | None = None,
        **columns: Sequence[Sequence],
    ) -> Sessions:
        """Sessions from one list of internal ids a row, without `feedback` all of them +1.

        Further `columns` of events are given like these, such as `timestamps`.
        """
        lengths = [len(row) for row in item_ids]
        for row in np.flatnonzero(np.array(lengths) == 0)[:1]:
            raise ValueError(f"A session must have at least one event. Row {row} is empty.")
        given = {"item_ids": item_ids, "feedback": feedback, "session_ids": session_ids}
        flat: dict[str, np.ndarray] = {"feedback": np.ones(sum(lengths), "int8")}
        for name, rows in {**given, **columns}.items():
            if rows is None:
                continue
            if [len(row) for row in rows] != lengths:
                raise ValueError(
                    f"`{name}` must have the row lengths of `item_ids`, {lengths[:10]}. "
                    f"Received: {[len(row) for row in rows][:10]}"
                )
            flat[name] = values = np.concatenate([np.zeros(0, int), *map(np.asarray, rows)])
            kind = values.dtype.kind
            if name not in EVENT_COLUMNS or EVENT_COLUMNS[name].is_time:
                continue  # for the constructor to see
            dtype = np.dtype(EVENT_COLUMNS[name].dtype)
            if kind not in "iu" and dtype.kind in "iu":
                raise TypeError(
                    f"`{name}` must be integers. Received values of dtype {values.dtype}."
                )
            for value in values[values != values.astype(dtype)][:1]:
                raise ValueError(f"`{name}` must fit {dtype}. Received: {value}")
        named = np.asarray(range(len(lengths)) if keys is None else keys)
        return cls(flat, np.append(0, np.cumsum(lengths)), named)

    @classmethod
    def from_events(cls, events: pd.DataFrame, vocabulary: Vocabulary) -> Sessions:
        """Sessions from an events table.

        Args:
            events: a table with the columns `session`, `item` and `feedback`; events of one
                session are taken in the order of `position` or else of `timestamp` where there
                is such a column, ties in table order, and in table order where there is none.
                With a `user` column a row is a user, and the user's sessions follow each
                other by the earliest `timestamp`, or without one as they come in the table.
            vocabulary: maps `item` to internal ids; an item that is not in it is a KeyError.

        Raises:
            ValueError, TypeError: what `check_events` finds.
        """
        check_events(events)
        item_ids = vocabulary.encode(events["item"])
        order, splits, keys, session_ids = order_events(events)
        columns = {"item_ids": item_ids[order], "feedback": events["feedback"].to_numpy()[order]}
        for column in further_columns():
            if column.log_column in events:
                columns[column.name] = _without_zone(events[column.log_column])[order]
        if session_ids is not None:
            columns["session_ids"] = session_ids
        return cls(columns, row_splits=splits, keys=keys)

    @classmethod
    def concatenate(cls, parts: Sequence[Sessions]) -> Sessions:
        """The rows of all parts, which must have the same columns, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        names = {tuple(part.columns) for part in parts}
        if len(names) != 1:
            raise ValueError(
                "Parts must all have the same columns, and there must be at least one. Received "
                f"parts with {sorted(names)}"
            )
        columns = {n: np.concatenate([part.columns[n] for part in parts]) for n in parts[0].columns}
        lengths = np.concatenate([part.lengths for part in parts])
        keys = np.concatenate([part.keys for part in parts])
        return cls(columns, np.append(0, np.cumsum(lengths)), keys)

    def __len__(self) -> int:
        return len(self.row_splits) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Number of events in each row."""
        return np.diff(self.row_splits)

    @property
    def num_events(self) -> int:
        return len(self.item_ids)

    def positions(self) -> np.ndarray:
        """Index of each event inside its row, from 0: shape `(num_events,)`."""
        return np.arange(self.num_events) - np.repeat(self.row_splits[:-1], self.lengths)

    def rows(self) -> np.ndarray:
        """Row of each event: shape `(num_events,)`."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def first(self, chosen: np.ndarray) -> np.ndarray:
        """Position of the first chosen event of each row, the length of the row where none is."""
        first = self.lengths
        rows, events = np.unique(self.rows()[chosen], return_index=True)
        first[rows] = self.positions()[chosen][events]
        return first

    def between(self, starts, ends, rows=None) -> Sessions:
        """New rows, each the events `starts[i]` up to but not including `ends[i]` of a row.

        `starts` and `ends` are an int, or one for each new row; `rows` tells which row each is cut
        from, which may come several times: by default all rows in order.
        """
        rows = np.arange(len(self)) if rows is None else np.arange(len(self))[rows]
        lengths = self.lengths[rows]
        starts = np.clip(np.broadcast_to(starts, rows.shape), 0, lengths)
        ends = np.clip(np.broadcast_to(ends, rows.shape), starts, lengths)
        sizes = ends - starts
        splits = np.append(0, np.cumsum(sizes))
        shifts = self.row_splits[rows] + starts - splits[:-1]
        events = np.arange(splits[-1]) + np.repeat(shifts, sizes)
        columns = {name: values[events] for name, values in self.columns.items()}
        return Sessions(columns, splits, self.keys[rows])

    def take(self, rows) -> Sessions:
        """The given rows, in the given order."""
        return self.between(0, self.num_events, rows)

    def windows(self, length: int, *, overlap: int = 0) -> Sessions:
        """Cuts rows longer than `length` into windows, counted from the newest event.

        No event is lost: the oldest window of a row may be shorter. With `overlap`, a window
        starts with the last `overlap` events of the one before it.
        """
        if not 0 <= overlap < length:
            received = f"overlap={overlap}, length={length}"
            raise ValueError(f"`overlap` must be from 0 to below `length`. Received: {received}")
        step = length - overlap
        counts = np.maximum(1, -(-(self.lengths - overlap) // step))
        rows = np.repeat(np.arange(len(self)), counts)
        nth_newest = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        ends = self.lengths[rows] - nth_newest * step
        return self.between(ends - length, ends, rows)

    def padded(self, length: int, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The newest `length` events of each row, or of `rows`, padded with 0 on the left.

        One array `(num_rows, length)` for each of `columns`, as a model takes it, mostly int32.
        """
        which = slice(None) if rows is None else rows
        starts, ends = self.row_splits[:-1][which], self.row_splits[1:][which]
        events = (ends - length)[:, np.newaxis] + np.arange(length)
        is_event = events >= starts[:, np.newaxis]
        events = events[is_event]
        batch = {}
        for name, values in self.columns.items():
            batch[name] = np.zeros(is_event.shape, EVENT_COLUMNS[name].input_dtype)
            batch[name][is_event] = values[events]
        return batch

    @property
    def column_names(self) -> list[str]:
        """The names of `columns`."""
        return list(self.columns)

    def batches(self, *, batch_size: int, max_length: int, **options: Any) -> tf.data.Dataset:
        """Left-padded batches: see `keras_negrec.data.TrainingData.batches`, also for `options`.

        Example:

        >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3], [4]])
        >>> batches = sessions.batches(batch_size=2, max_length=3, shuffle=False)
        >>> next(iter(batches))["item_ids"].numpy().tolist()
        [[1, 2, 3], [0, 0, 4]]
        """
        from keras_negrec.data.training.stream_batches import stream_sessions  # loads TensorFlow

        return stream_sessions(self, batch_size=batch_size, max_length=max_length, **options)

    def item_counts(self, num_items: int, positive: bool = False) -> np.ndarray:
        """How often each item occurs, or with `positive` is kept: int64 `(num_items,)`."""
        check_item_ids(self.item_ids, num_items)
        item_ids = self.item_ids[self.feedback > 0] if positive else self.item_ids
        return np.bincount(item_ids, minlength=num_items + 1)[1:]

    def check_catalogue(self, num_items: int, vocabulary: Vocabulary | None = None) -> None:
        """A ValueError unless all item ids are among `1..num_items`."""
        check_item_ids(self.item_ids, num_items)

    def chunks(self) -> Iterator[Sessions]:
        """All rows at once: they are in memory."""
        yield self

    def fingerprint(self) -> str:
        """A hash of rows and events, not of `keys`, the same in every process."""
        digest = hashlib.sha256()
        for name, values in {"row_splits": self.row_splits, **self.columns}.items():
            digest.update(f"{name} {len(values)} ".encode())
            digest.update(values.astype("<i8" if values.dtype.kind in "iu" else "<f8").tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return (
            f"<Sessions: {len(self)} rows, {self.num_events} events, "
            f"{np.mean(self.feedback < 0) if self.num_events else 0:.0%} negative>"
        )


def _without_zone(values: pd.Series) -> np.ndarray:
    """The values as they are, times with a zone in UTC."""
    is_in_zone = isinstance(values.dtype, pd.DatetimeTZDtype)
    return (values.dt.tz_convert(None) if is_in_zone else values).to_numpy()
