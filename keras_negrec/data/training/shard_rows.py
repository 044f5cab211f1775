"""Row groups of prepared shards as sessions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.preparation.known_file import KnownFile
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.splits.cuts import Cuts


@dataclass(frozen=True)
class RowGroup:
    """Where a row group lies: the unit of reading, shuffling and sharing out."""

    file: KnownFile
    index: int

    def __str__(self) -> str:
        return f"{self.file.path}, row group {self.index}"


def read_cuts(group: RowGroup) -> Cuts:
    """The cuts of the rows."""
    columns = _read(group, dict.fromkeys(("train_end", "validation_at", "test_at"), pa.int32()))
    return Cuts(**{name: values.to_numpy() for name, values in columns.items()})


def read_rows(group: RowGroup, *, num_items: int, columns: list[str]) -> Sessions:
    """The whole rows, or a ValueError about what is wrong with them."""
    kinds = {name: pa.from_numpy_dtype(EVENT_COLUMNS[name].dtype) for name in columns}
    found = _read(group, {name: pa.list_(kind) for name, kind in kinds.items()} | {"key": None})
    keys = found.pop("key").to_numpy(zero_copy_only=False)
    splits = found["item_ids"].offsets.to_numpy().astype("int64")
    for name, lists in found.items():
        other = np.diff(lists.offsets) != np.diff(splits)
        if other.any():
            row = int(np.argmax(other))
            raise ValueError(
                f"In {group}, row {row}: `{name}` must have as many values as `item_ids`, "
                f"{np.diff(splits)[row]}. Received: {np.diff(lists.offsets)[row]}"
            )
    values = {name: lists.flatten().to_numpy() for name, lists in found.items()}
    if values["item_ids"].max(initial=0) > num_items:
        raise ValueError(
            f"In {group}: item ids must lie in 1..{num_items}, the vocabulary. Received: "
            f"{values['item_ids'].max()}"
        )
    return Sessions(values, row_splits=splits - splits[0], keys=keys)


def _read(group: RowGroup, kinds: dict[str, pa.DataType | None]) -> dict[str, pa.Array]:
    """Columns of these types, of which None is any, without missing values."""
    with pa.parquet.ParquetFile(group.file.checked()) as file:
        names = file.schema_arrow.names
        missing = [name for name in kinds if name not in names]
        if missing:
            raise ValueError(
                f"In {group.file.path}: column {missing[0]!r} is missing. Received columns: {names}"
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
                f"In {group}: column `{name}` must be of type {kind or 'string or int64'}, "
                f"without missing values. Received: {received.type}, {received.null_count} missing"
            )
        columns[name] = column
    return columns
