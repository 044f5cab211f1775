"""Rows of an engine, cut into what trains, what validates and what tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.splits.cuts import Cuts


@dataclass(frozen=True)
class CutRows:
    """Some rows with their cuts, the shard of each, and how many events were too many."""

    sessions: Sessions
    cuts: Cuts
    shards: np.ndarray
    num_truncated: int


def cut_rows(
    batches: Iterable[pa.RecordBatch],
    *,
    cut: Callable[[Sessions, np.ndarray, np.ndarray | None], Cuts],
    max_length: int | None,
    keep_windows: bool,
    num_shards: int,
) -> Iterator[CutRows]:
    """Cuts the rows that `to_rows` describes and limits their lengths.

    Item ids are provisional codes. `cut` makes the cuts of rows, of numbers from 0 to 1 that are
    drawn for them, and of the times of their events.
    """
    for batch in batches:
        sessions, times = _to_sessions(batch)
        digests = batch.column("digest").to_pylist()
        shards = np.array([int(digest[:8], 16) * num_shards >> 32 for digest in digests], "int64")
        # Other digits than the shard's, or the rows held out would all be in one shard.
        draw = np.array([int(digest[8:16], 16) / 2**32 for digest in digests], "float64")
        cuts = cut(sessions, draw, times)
        num_events = sessions.num_events
        if max_length is not None:
            sessions, cuts, rows = limit_length(sessions, cuts, max_length, keep_windows)
            shards = shards[rows]
        yield CutRows(sessions, cuts, shards, num_events - sessions.num_events)


def limit_length(
    sessions: Sessions, cuts: Cuts, max_length: int, keep_windows: bool
) -> tuple[Sessions, Cuts, np.ndarray]:
    """Rows whose history before the first cut has no more than `max_length` events.

    What comes after the first cut stays whole: targets are in it. Older events are dropped, or
    become rows that only train, in windows counted from the newest as in `Sessions.windows`.

    Returns:
        The rows, their cuts, and the row that each was cut from.
    """
    first_cut = np.where(cuts.validation_at >= 0, cuts.validation_at, cuts.test_at)
    history = np.where(cuts.train_end > 0, cuts.train_end, first_cut)
    history = np.where(history >= 0, history, sessions.lengths)  # neither trains nor is ranked
    start = np.maximum(history - max_length, 0)
    num_older = -(-start // max_length) * ((cuts.train_end > 0) & keep_windows)
    rows = np.repeat(np.arange(len(sessions)), num_older + 1)
    # The rows' own last parts come last, numbered 0; window n ends where window n - 1 starts.
    n = np.repeat(np.cumsum(num_older + 1), num_older + 1) - 1 - np.arange(len(rows))
    is_window, start = n > 0, start[rows]
    ends = np.where(is_window, start - (n - 1) * max_length, sessions.lengths[rows])
    starts = np.where(is_window, ends - max_length, start)
    limited = sessions.between(starts, ends, rows)
    train_end = np.where(cuts.train_end[rows] > 0, cuts.train_end[rows] - start, 0)

    def shift(cut: np.ndarray) -> np.ndarray:
        return np.where(~is_window & (cut[rows] >= 0), cut[rows] - start, -1)

    shifted = Cuts(
        np.where(is_window, limited.lengths, train_end),
        shift(cuts.validation_at),
        shift(cuts.test_at),
    )
    return limited, shifted, rows


def _to_sessions(batch: pa.RecordBatch) -> tuple[Sessions, np.ndarray | None]:
    """The rows of a batch, and the times of their events where it has them."""
    offsets = batch.column("item_ids").offsets.to_numpy().astype("int64")

    def flat(name: str) -> np.ndarray:
        values = batch.column(name).flatten()
        if values.null_count:
            raise ValueError(
                f"Column `{name}` must have a value for each event. Received: {values.null_count} "
                "missing values"
            )
        return values.to_numpy(zero_copy_only=False)

    sessions = Sessions(
        {name: flat(name) for name in EVENT_COLUMNS if name in batch.schema.names},
        row_splits=offsets - offsets[0],
        keys=batch.column("key").to_numpy(zero_copy_only=False),
    )
    return sessions, flat("times") if "times" in batch.schema.names else None
