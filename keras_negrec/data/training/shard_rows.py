"""Row groups of prepared shards as sessions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.splits.cuts import Cuts

CUTS = ("train_end", "validation_at", "test_at")


@dataclass(frozen=True)
class RowGroup:
    """Where a row group lies: the unit of reading, shuffling and sharing out."""

    path: Path
    index: int
    num_rows: int


def row_groups(path: Path) -> list[RowGroup]:
    """The row groups of one shard that hold rows."""
    metadata = _open(path).metadata
    return [
        RowGroup(path, index, metadata.row_group(index).num_rows)
        for index in range(metadata.num_row_groups)
        if metadata.row_group(index).num_rows
    ]


def read_cuts(group: RowGroup) -> Cuts:
    """The cuts of the rows."""
    columns = _read(group, dict.fromkeys(CUTS, pa.int32()))
    return Cuts(*(columns[name].to_numpy() for name in CUTS))


def read_rows(group: RowGroup, *, num_items: int, columns: list[str]) -> Sessions:
    """The whole rows, or a ValueError about what is wrong with them."""
    kinds = {name: pa.from_numpy_dtype(EVENT_COLUMNS[name].dtype) for name in columns}
    found = _read(group, {name: pa.list_(kind) for name, kind in kinds.items()} | {"key": None})
    keys = found.pop("key").to_numpy(zero_copy_only=False)
    splits = found["item_ids"].offsets.to_numpy().astype("int64")
    for name, lists in found.items():
        if not np.array_equal(np.diff(lists.offsets), np.diff(splits)):
            row = int(np.argmax(np.diff(lists.offsets) != np.diff(splits)))
            raise ValueError(
                f"{_where(group)}, row {row}: `{name}` must have as many values as `item_ids`, "
                f"{np.diff(splits)[row]}. Received: {np.diff(lists.offsets)[row]}"
            )
    values = {name: lists.flatten().to_numpy() for name, lists in found.items()}
    if values["item_ids"].max(initial=0) > num_items:
        raise ValueError(
            f"{_where(group)}: item ids must lie in 1..{num_items}, the vocabulary. Received: "
            f"{values['item_ids'].max()}"
        )
    return Sessions(values, row_splits=splits - splits[0], keys=keys)


def _open(path: Path) -> pa.parquet.ParquetFile:
    try:
        return pa.parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as Parquet. Received: {error}") from error


def _read(group: RowGroup, kinds: dict[str, pa.DataType | None]) -> dict[str, pa.Array]:
    """Columns of these types, of which None is any, without missing values."""
    with _open(group.path) as file:
        missing = [name for name in kinds if name not in file.schema_arrow.names]
        if missing:
            raise ValueError(
                f"In {group.path}: column {missing[0]!r} is missing. Received columns: "
                f"{file.schema_arrow.names}"
            )
        # Several row groups are read at once by threads of our own.
        table = file.read_row_group(group.index, list(kinds), use_threads=False)
    columns = {}
    for name, kind in kinds.items():
        received = table[name].combine_chunks()
        try:
            column = received if kind is None else received.cast(kind)
        except pa.ArrowException:
            column = None
        is_whole = column is not None and not column.null_count
        if not is_whole or (pa.types.is_list(column.type) and column.flatten().null_count):
            raise ValueError(
                f"{_where(group)}: column `{name}` must be of type {kind or 'string or int64'}, "
                f"without missing values. Received: {received.type}, {received.null_count} missing"
            )
        columns[name] = column
    return columns


def _where(group: RowGroup) -> str:
    return f"In {group.path}, row group {group.index}"
