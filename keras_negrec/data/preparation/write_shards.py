"""From rows in an engine to the files of a prepared folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from keras_negrec.atomic_write import sync
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.splits.cuts import Cuts

# A row group is read at once; this many events of it are some megabytes.
ROW_GROUP_EVENTS = 250_000


@dataclass
class Totals:
    """What the written rows hold."""

    num_items: int
    rows: int = 0
    events: int = 0
    num_truncated: int = 0
    max_row_length: int = 0
    train: dict[str, int] = field(default_factory=lambda: {"rows": 0, "events": 0})
    examples: dict[str, dict[str, int]] = field(default_factory=dict)
    feedback: np.ndarray = field(default_factory=lambda: np.zeros(5, "int64"))  # from -2 to 2

    def __post_init__(self):
        self.count = np.zeros(self.num_items + 1, "int64")
        self.train_count = np.zeros(self.num_items + 1, "int64")
        self.train_positive_count = np.zeros(self.num_items + 1, "int64")
        self.targets = {name: np.zeros(self.num_items + 1, "int64") for name in _PARTS}
        self.examples = {name: {"examples": 0, "with_skip": 0} for name in _PARTS}

    def add(self, sessions: Sessions, cuts: Cuts) -> None:
        size = self.num_items + 1
        self.rows += len(sessions)
        self.events += sessions.num_events
        self.max_row_length = max(self.max_row_length, int(sessions.lengths.max(initial=0)))
        self.feedback += np.bincount(sessions.feedback + 2, minlength=5)
        self.count += np.bincount(sessions.item_ids, minlength=size)
        train = sessions.positions() < np.repeat(cuts.train_end, sessions.lengths)
        self.train["rows"] += int((cuts.train_end > 0).sum())
        self.train["events"] += int(train.sum())
        self.train_count += np.bincount(sessions.item_ids[train], minlength=size)
        positive = train & (sessions.feedback > 0)
        self.train_positive_count += np.bincount(sessions.item_ids[positive], minlength=size)
        for name in _PARTS:
            examples = getattr(cuts, name)(sessions)
            self.examples[name]["examples"] += len(examples)
            self.examples[name]["with_skip"] += int((examples.skip_targets > 0).sum())
            self.targets[name] += np.bincount(examples.targets, minlength=size)

    def split(self) -> dict[str, dict[str, int]]:
        """How much trains, and how many examples there are to rank."""
        parts: dict[str, dict[str, int]] = {"train": self.train}
        for name in _PARTS:
            unseen = int(self.targets[name][self.train_count == 0].sum())
            parts[name] = self.examples[name] | {"targets_not_in_training": unseen}
        return parts


_PARTS = ("validation", "test")


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
    """Cuts rows and limits their lengths. Their item ids are the provisional codes.

    Args:
        batches: what `to_rows` describes.
        cut: makes the cuts of rows, of numbers from 0 to 1 that are drawn for them, and of the
            times of their events.
        max_length: see `limit_length`, or None.
        keep_windows: see `limit_length`.
        num_shards: int.
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


def write_shards(
    parts: Iterable[CutRows],
    folder: Path,
    *,
    ids: np.ndarray,
    num_shards: int,
    progress: Callable[[int], None],
) -> tuple[list[dict[str, Any]], Totals]:
    """Writes rows, which come shard by shard.

    Args:
        parts: what `cut_rows` gives.
        folder: an empty folder.
        ids: int32 array, the item id of each provisional code.
        num_shards: int.
        progress: called with the number of events of each part.

    Returns:
        The manifest's list of shards, and the totals.
    """
    totals = Totals(int(ids.max()))
    shards = _Shards(folder, num_shards)
    for part in parts:
        columns = {**part.sessions.columns, "item_ids": ids[part.sessions.item_ids]}
        sessions = Sessions(columns, part.sessions.row_splits, part.sessions.keys)
        totals.add(sessions, part.cuts)
        totals.num_truncated += part.num_truncated
        shards.write(sessions, part.cuts, part.shards)
        progress(sessions.num_events)
    return shards.close(), totals


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
    codes = batch.column("codes")
    offsets = codes.offsets.to_numpy().astype("int64")

    def flat(name: str) -> np.ndarray:
        return batch.column(name).flatten().to_numpy(zero_copy_only=False)

    names = [name for name in EVENT_COLUMNS if name in batch.schema.names]
    sessions = Sessions(
        {"item_ids": flat("codes"), **{name: flat(name) for name in names}},
        row_splits=offsets - offsets[0],
        keys=batch.column("key").to_numpy(zero_copy_only=False),
    )
    return sessions, flat("times") if "times" in batch.schema.names else None


class _Shards:
    """Writes rows that come shard by shard, one file after the other.

    Every shard is there, one without rows too, so that readers find as many as were asked for.
    """

    def __init__(self, folder: Path, num_shards: int):
        self._folder, self._num_shards = folder, num_shards
        self._written: list[dict[str, Any]] = []
        self._writer: Any = None
        self._schema: pa.Schema | None = None

    def write(self, sessions: Sessions, cuts: Cuts, shard: np.ndarray) -> None:
        table = _to_table(sessions, cuts)
        self._schema = table.schema
        borders = np.flatnonzero(np.diff(shard)) + 1
        begins = np.append(0, borders)
        for begin, end in zip(begins, np.append(borders, len(shard)), strict=True):
            if begin < end:
                writer = self._move_to(int(shard[begin]))
                piece = table.slice(begin, end - begin)
                writer.write_table(piece)
                self._written[-1]["rows"] += len(piece)
                splits = sessions.row_splits
                self._written[-1]["events"] += int(splits[end] - splits[begin])

    def close(self) -> list[dict[str, Any]]:
        if self._schema is not None:
            self._move_to(self._num_shards - 1)
            self._finish()
        return self._written

    def _move_to(self, shard: int) -> pa.parquet.ParquetWriter:
        while len(self._written) <= shard:
            self._finish()
            name = f"part-{len(self._written):05d}.parquet"
            self._writer = pa.parquet.ParquetWriter(
                self._folder / name, self._schema, compression="zstd"
            )
            self._written.append({"file": f"shards/{name}", "rows": 0, "events": 0})
        return self._writer

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
            file = self._folder / Path(self._written[-1]["file"]).name
            sync(file)
            self._written[-1]["bytes"] = file.stat().st_size
            self._writer = None


def _to_table(sessions: Sessions, cuts: Cuts) -> pa.Table:
    offsets = pa.array(sessions.row_splits.astype("int32"))
    is_text = sessions.keys.dtype == object

    def lists(values: np.ndarray, dtype: pa.DataType) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, pa.array(values, dtype))

    columns = {
        "key": pa.array(sessions.keys, pa.string() if is_text else pa.int64()),
    }
    for name, values in sessions.columns.items():
        columns[name] = lists(values, pa.from_numpy_dtype(values.dtype))
    for name in ("train_end", "validation_at", "test_at"):
        columns[name] = pa.array(getattr(cuts, name).astype("int32"))
    return pa.table(columns)
