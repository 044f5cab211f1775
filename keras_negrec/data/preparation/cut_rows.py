"""Rows of an engine: cut into what trains, validates and tests, counted, written as shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.preparation.known_file import describe_file
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.splits.cuts import Cuts, leave_one_out_cuts, no_cuts, session_cuts, time_cuts

# A row group is read at once; this many events of it are some megabytes.
ROW_GROUP_EVENTS = 250_000
_HELD_OUT = ("validation", "test")


def cut_rows(
    batch: pa.RecordBatch, parameters: dict[str, Any], begins: np.ndarray | None
) -> tuple[Sessions, Cuts, np.ndarray]:
    """The rows that `to_rows` describes at their final lengths, their cuts, and their shards.

    Item ids are provisional codes. `begins` says when the periods of `split="time"` begin.
    """
    sessions = _to_sessions(batch)
    times = sessions.columns.get("timestamps")
    digests = batch.column("digest").to_pylist()
    num_shards, max_length = parameters["num_shards"], parameters["max_length"]
    shards = np.array([int(digest[:8], 16) * num_shards >> 32 for digest in digests], "int64")
    if parameters["split"] == "leave_one_out":
        cuts = leave_one_out_cuts(sessions)
    elif parameters["split"] == "session":
        # Other digits than the shard's, or all rows held out would be in one shard.
        draw = np.array([int(digest[8:16], 16) / 2**32 for digest in digests], "float64")
        cuts = session_cuts(
            sessions, draw, parameters["validation_share"], parameters["test_share"]
        )
    elif times is not None and begins is not None:
        cuts = time_cuts(sessions, times, *begins)
    else:
        cuts = no_cuts(sessions)
    if max_length is None:
        return sessions, cuts, shards
    keep_windows = parameters["long_rows"] == "windows"
    sessions, cuts, rows = _limit_length(sessions, cuts, max_length, keep_windows)
    return sessions, cuts, shards[rows]


def _to_sessions(batch: pa.RecordBatch) -> Sessions:
    """The rows of a batch."""
    offsets = batch.column("item_ids").offsets.to_numpy().astype("int64")

    def flat(name: str) -> np.ndarray:
        values = batch.column(name).flatten()
        if values.null_count:
            raise ValueError(
                f"Column `{name}` must have a value for each event. Received: {values.null_count} "
                "missing values"
            )
        return values.to_numpy(zero_copy_only=False)

    return Sessions(
        {name: flat(name) for name in EVENT_COLUMNS if name in batch.schema.names},
        row_splits=offsets - offsets[0],
        keys=batch.column("key").to_numpy(zero_copy_only=False),
    )


def _limit_length(
    sessions: Sessions, cuts: Cuts, max_length: int, keep_windows: bool
) -> tuple[Sessions, Cuts, np.ndarray]:
    """Rows of at most `max_length` events before the first cut, and the row each was cut from.

    What comes after the first cut stays whole: targets are in it. Older events are dropped, or
    become rows that only train, in windows counted from the newest as in `Sessions.windows`.
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
    validation_at, test_at = (
        np.where(~is_window & (cut[rows] >= 0), cut[rows] - start, -1)
        for cut in (cuts.validation_at, cuts.test_at)
    )
    cuts = Cuts(np.where(is_window, limited.lengths, train_end), validation_at, test_at)
    return limited, cuts, rows


class Totals:
    """What cut rows hold; `count`, `train_count` and `train_positive_count` are by item."""

    def __init__(self, num_items: int):
        self.rows = self.events = self.max_row_length = self.num_repeats = 0
        self.columns: list[str] = []
        self.feedback = np.zeros(5, "int64")  # from -2 to 2
        counts = np.zeros((5, num_items + 1), "int64")
        self.count, self.train_count, self.train_positive_count = counts[:3]
        self._targets = dict(zip(_HELD_OUT, counts[3:], strict=True))
        self._split = {"train": {"rows": 0, "events": 0}}
        self._split |= {name: {"examples": 0, "with_skip": 0} for name in _HELD_OUT}

    def add(self, sessions: Sessions, cuts: Cuts) -> None:
        size = len(self.count)
        self.columns = list(stored_columns(sessions))
        self.rows += len(sessions)
        self.events += sessions.num_events
        self.num_repeats += count_repeats(sessions.lengths, sessions.item_ids)
        self.max_row_length = max(self.max_row_length, int(sessions.lengths.max(initial=0)))
        self.feedback += np.bincount(sessions.feedback + 2, minlength=5)
        self.count += np.bincount(sessions.item_ids, minlength=size)
        train = sessions.positions() < np.repeat(cuts.train_end, sessions.lengths)
        self._split["train"]["rows"] += int((cuts.train_end > 0).sum())
        self._split["train"]["events"] += int(train.sum())
        self.train_count += np.bincount(sessions.item_ids[train], minlength=size)
        positive = train & (sessions.feedback > 0)
        self.train_positive_count += np.bincount(sessions.item_ids[positive], minlength=size)
        for name in _HELD_OUT:
            examples = cuts.examples(name, sessions)
            self._split[name]["examples"] += len(examples)
            self._split[name]["with_skip"] += int((examples.skip_targets > 0).sum())
            self._targets[name] += np.bincount(examples.targets, minlength=size)

    def split(self) -> dict[str, Any]:
        """How much trains, and how many examples there are to rank, for the manifest."""
        for name in _HELD_OUT:
            unseen = int(self._targets[name][self.train_count == 0].sum())
            self._split[name]["targets_not_in_training"] = unseen
        return self._split


def count_repeats(lengths: np.ndarray, item_ids: np.ndarray) -> int:
    """How many events have an item that is in their row before, of rows one after the other."""
    rows = np.repeat(np.arange(len(lengths), dtype="int64"), lengths) << 32  # ids are int32
    events = np.sort(rows + item_ids)
    return int((events[1:] == events[:-1]).sum())


class RowSpool:
    """Cut rows in one temporary file, where they wait for the ids of their items.

    Items are numbered by how often they occur in what trains, which is known when all rows are cut.
    """

    def __init__(self, path: Path):
        self._path = path
        self._writer: Any = None
        self._shards: list[int] = []  # of each batch in the file

    def write(self, sessions: Sessions, cuts: Cuts, shards: np.ndarray) -> None:
        """Takes rows that come shard by shard, over all calls."""
        table = _to_table(sessions, cuts)
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_file(self._path, table.schema, options=options)
        begins = np.append(0, np.flatnonzero(np.diff(shards)) + 1)
        for begin, end in zip(begins, np.append(begins[1:], len(shards)), strict=True):
            self._writer.write_table(table.slice(begin, end - begin))
            self._shards.append(int(shards[begin]))

    def write_shards(
        self, folder: Path, ids: np.ndarray, num_shards: int, first: int = 0
    ) -> list[dict[str, Any]]:
        """Writes a file for each shard, one without rows too, and lists them for the manifest.

        `ids` is an int32 array with the item id of each provisional code, `first` the number of
        the first file.
        """
        self._writer.close()
        written = []
        with pa.memory_map(str(self._path)) as file:
            spooled = pa.ipc.open_file(file)
            for shard in range(num_shards):
                path = folder / f"part-{first + shard:05d}.parquet"
                rows = events = 0
                with pa.parquet.ParquetWriter(path, spooled.schema, compression="zstd") as writer:
                    for number in range(*np.searchsorted(self._shards, [shard, shard + 1])):
                        batch = _with_ids(spooled.get_batch(number), ids)
                        writer.write_batch(batch)
                        rows += batch.num_rows
                        events += len(batch.column("item_ids").flatten())
                metadata = pa.parquet.read_metadata(path)
                groups = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
                counts = {"rows": rows, "events": events, "row_groups": groups}
                written.append(describe_file(path, folder.parent) | counts)
        return written


def _to_table(sessions: Sessions, cuts: Cuts) -> pa.Table:
    offsets = pa.array(sessions.row_splits.astype("int32"))
    is_text = sessions.keys.dtype == object
    columns = {"key": pa.array(sessions.keys, pa.string() if is_text else pa.int64())}
    for name, values in stored_columns(sessions).items():
        columns[name] = pa.ListArray.from_arrays(offsets, pa.array(values))
    for name in ("train_end", "validation_at", "test_at"):
        columns[name] = pa.array(getattr(cuts, name).astype("int32"))
    return pa.table(columns)


def stored_columns(sessions: Sessions) -> dict[str, np.ndarray]:
    """The columns of events but for those that are made of others."""
    named = sessions.columns.items()
    return {name: values for name, values in named if EVENT_COLUMNS[name].next_of is None}


def _with_ids(batch: pa.RecordBatch, ids: np.ndarray) -> pa.RecordBatch:
    codes = batch.column("item_ids")
    item_ids = pa.ListArray.from_arrays(codes.offsets, pa.array(ids[codes.values.to_numpy()]))
    index = batch.schema.get_field_index("item_ids")
    return batch.set_column(index, batch.schema.field(index), item_ids)
