"""From cut rows to the files of a prepared folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from keras_negrec.atomic_write import sync
from keras_negrec.data.preparation.cut_rows import CutRows

# A row group is read at once; this many events of it are some megabytes.
ROW_GROUP_EVENTS = 250_000


class RowSpool:
    """Cut rows in one temporary file, where they wait for the ids of their items.

    Items are numbered by how often they occur in what trains, which is known when all rows are
    cut.
    """

    def __init__(self, path: Path):
        self._path = path
        self._writer: Any = None

    def write(self, rows: CutRows) -> None:
        table = _to_table(rows)
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_file(self._path, table.schema, options=options)
        self._writer.write_table(table)

    def read(self) -> Iterator[pa.RecordBatch]:
        """What was written, piece by piece; each has the column `shard`."""
        self._writer.close()
        with pa.memory_map(str(self._path)) as file:
            reader = pa.ipc.open_file(file)
            yield from map(reader.get_batch, range(reader.num_record_batches))


def write_shards(
    spool: RowSpool, folder: Path, *, ids: np.ndarray, num_shards: int
) -> list[dict[str, Any]]:
    """Writes the spooled rows, which come shard by shard, for the manifest's list of shards.

    `ids` is an int32 array with the item id of each provisional code.
    """
    shards = _Shards(folder, num_shards)
    for batch in spool.read():
        codes = batch.column("item_ids")
        of_items = pa.array(ids[codes.values.to_numpy()])
        item_ids = pa.ListArray.from_arrays(codes.offsets, of_items)
        index = batch.schema.get_field_index("item_ids")
        batch = batch.set_column(index, batch.schema.field(index), item_ids)
        shards.write(batch.drop_columns(["shard"]), batch.column("shard").to_numpy())
    return shards.close()


class _Shards:
    """Writes rows that come shard by shard, one file after the other.

    Every shard is there, one without rows too, so that readers find as many as were asked for.
    """

    def __init__(self, folder: Path, num_shards: int):
        self._folder, self._num_shards = folder, num_shards
        self._written: list[dict[str, Any]] = []
        self._writer: Any = None
        self._schema: pa.Schema | None = None

    def write(self, rows: pa.RecordBatch, shard: np.ndarray) -> None:
        self._schema = rows.schema
        begins = np.append(0, np.flatnonzero(np.diff(shard)) + 1)
        for begin, end in zip(begins, np.append(begins[1:], len(shard)), strict=True):
            writer = self._move_to(int(shard[begin]))
            piece = rows.slice(begin, end - begin)
            writer.write_table(pa.Table.from_batches([piece]))
            self._written[-1]["rows"] += piece.num_rows
            splits = piece.column("item_ids").offsets
            self._written[-1]["events"] += splits[-1].as_py() - splits[0].as_py()

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


def _to_table(rows: CutRows) -> pa.Table:
    sessions, cuts = rows.sessions, rows.cuts
    offsets = pa.array(sessions.row_splits.astype("int32"))
    is_text = sessions.keys.dtype == object
    columns = {"key": pa.array(sessions.keys, pa.string() if is_text else pa.int64())}
    for name, values in sessions.columns.items():
        columns[name] = pa.ListArray.from_arrays(offsets, pa.array(values))
    for name in ("train_end", "validation_at", "test_at"):
        columns[name] = pa.array(getattr(cuts, name).astype("int32"))
    return pa.table(columns | {"shard": pa.array(rows.shards)})
