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
    """The row groups of one shard that hold rows.

    Raises:
        ValueError: the file is no Parquet.
    """
    metadata = _open(path).metadata
    return [
        RowGroup(path, index, metadata.row_group(index).num_rows)
        for index in range(metadata.num_row_groups)
        if metadata.row_group(index).num_rows
    ]


def read_cuts(group: RowGroup) -> Cuts:
    """The cuts of the rows."""
    table = _read(group, list(CUTS))
    return Cuts(*(_numbers(table[name], name, group).astype("int32") for name in CUTS))


def read_rows(group: RowGroup, *, num_items: int, columns: list[str]) -> Sessions:
    """The whole rows.

    Raises:
        ValueError: a column that is missing, has missing values or is no list of integers;
            lists of different lengths in one row; an id beyond the vocabulary.
    """
    table = _read(group, ["key", *columns])
    splits, item_ids = _lists(table["item_ids"], "item_ids", group)
    values = {"item_ids": item_ids}
    for name in columns:
        if name == "item_ids":
            continue
        other_splits, values[name] = _lists(table[name], name, group)
        if not np.array_equal(splits, other_splits):
            row = int(np.argmax(np.diff(splits) != np.diff(other_splits)))
            raise ValueError(
                f"{_where(group)}, row {row}: `{name}` must have as many values as `item_ids`, "
                f"{np.diff(splits)[row]}. Received: {np.diff(other_splits)[row]}"
            )
    if len(item_ids) and item_ids.max() > num_items:
        raise ValueError(
            f"{_where(group)}: item ids must lie in 1..{num_items}, the vocabulary. Received: "
            f"{item_ids.max()}"
        )
    keys = table["key"]
    if keys.null_count:
        raise ValueError(f"{_where(group)}: column `key` has missing values.")
    return Sessions(
        values,
        row_splits=splits,
        keys=np.asarray(keys.to_numpy()),
    )


def _open(path: Path) -> pa.parquet.ParquetFile:
    try:
        return pa.parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as Parquet. Received: {error}") from error


def _read(group: RowGroup, columns: list[str]) -> pa.Table:
    with _open(group.path) as file:
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise ValueError(
                f"In {group.path}: column {missing[0]!r} is missing. Received columns: "
                f"{file.schema_arrow.names}"
            )
        # Several row groups are read at once by threads of our own.
        return file.read_row_group(group.index, columns, use_threads=False)


def _lists(column: pa.ChunkedArray, name: str, group: RowGroup) -> tuple[np.ndarray, np.ndarray]:
    """Row splits, from 0, and the flat values of a column of lists."""
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise ValueError(
            f"{_where(group)}: column `{name}` must be lists of {_noun(name)}. Received: {kind}"
        )
    if column.null_count:
        raise ValueError(f"{_where(group)}: column `{name}` has missing values.")
    lists = column.combine_chunks()
    lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
    offsets = lists.offsets.to_numpy().astype("int64")
    return offsets - offsets[0], _numbers(lists.flatten(), name, group)


def _numbers(values, name: str, group: RowGroup) -> np.ndarray:
    kind = values.type
    is_right = pa.types.is_floating(kind) if _is_float(name) else pa.types.is_integer(kind)
    if values.null_count or not is_right:
        raise ValueError(
            f"{_where(group)}: column `{name}` must be {_noun(name)}, none missing. Received: "
            f"{kind}, {values.null_count} missing"
        )
    return values.to_numpy()


def _is_float(name: str) -> bool:
    return name in EVENT_COLUMNS and EVENT_COLUMNS[name].dtype.startswith("float")


def _noun(name: str) -> str:
    return "floating-point numbers" if _is_float(name) else "integers"


def _where(group: RowGroup) -> str:
    return f"In {group.path}, row group {group.index}"
