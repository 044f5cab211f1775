"""Which columns of events travel from a log to a model, said in this one place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class EventColumn:
    """What all rooms must know of a column of events: see `register_event_column`.

    `log_column` is "" for a column that is not read but made. `next_of` names the column that it
    is made of: each event has the value of the next one there, the last event of a row its own.
    """

    name: str
    log_column: str
    dtype: str = "int32"
    input_dtype: str = "int32"
    masked: int | float | None = None
    is_time: bool = False
    next_of: str | None = None


# A new column is one line here, or one call of `register_event_column`.
EVENT_COLUMNS: dict[str, EventColumn] = {
    column.name: column
    for column in (
        EventColumn("item_ids", "item"),
        EventColumn("feedback", "feedback", dtype="int8", masked=0),
        EventColumn("session_ids", ""),
        EventColumn("timestamps", "timestamp", dtype="float64", is_time=True),
        # When what follows an event was asked for, of the newest one of a history: now.
        EventColumn("request_timestamps", "", "float64", is_time=True, next_of="timestamps"),
    )
}


def register_event_column(
    name: str,
    *,
    log_column: str | None = None,
    dtype: str = "int32",
    input_dtype: str | None = None,
    masked: int | float | None = None,
) -> EventColumn:
    """Makes one more column of events known, from the reader to the export.

    A log that has the column hands it on, to `prepare`, `Sessions`, batches, evaluation and the
    signatures of an export. A model has it as an input where its encoder names it in
    `Encoder.columns`. Padding is 0.

    Args:
        name: str. What sessions, batches, model inputs and served signatures call it.
        log_column: str or None. What tables of events call it; None is `name`.
        dtype: str. How it is stored: a NumPy integer or floating-point dtype.
        input_dtype: str or None. What a model is given; None is `"int32"` for integers and
            `"float32"` for others.
        masked: number or None. The value of an event that is masked or yet to come; None repeats
            its own value, or that of the newest event.

    Raises:
        ValueError: a name that is taken by another column.

    Example:

    >>> keras_negrec.data.register_event_column("device").input_dtype
    'int32'
    """
    if input_dtype is None:
        input_dtype = "float32" if dtype.startswith("float") else "int32"
    column = EventColumn(name, log_column or name, dtype, input_dtype, masked)
    others = [other.log_column for other in EVENT_COLUMNS.values() if other.name != name]
    taken = {*filter(None, others), "session", "user", "position"}
    if EVENT_COLUMNS.get(name, column) != column or column.log_column in taken:
        raise ValueError(
            f"Columns of that name are there already: {sorted(EVENT_COLUMNS)}, and "
            f"{sorted(taken)} in logs. Received: name={name!r}, log_column={log_column!r}"
        )
    EVENT_COLUMNS[name] = column
    return column


def with_made_columns(names: Iterable[str]) -> list[str]:
    """The columns of these names and those made of them, in the order of the registry."""
    known = set(names)
    return [n for n, column in EVENT_COLUMNS.items() if n in known or column.next_of in known]


def value_after(name: str, columns: Iterable[str]) -> str:
    """The column that tells of each event what the next one has in column `name`; else `name`."""
    return next((n for n in columns if EVENT_COLUMNS[n].next_of == name), name)


def in_seconds(values) -> np.ndarray:
    """Times as seconds since 1970, in float64.

    Numbers from 1e11 on are taken for milliseconds, from 1e14 on for microseconds and from 1e17 on
    for nanoseconds. A ValueError for a mix of these, and for what does not fit in int32 then, as
    models take it.
    """
    import numpy as np  # here, so that the command's help loads nothing heavy

    values = np.asarray(values)
    if values.dtype.kind == "M":
        values = values.astype("datetime64[us]").astype("int64") / 1e6
    values = values.astype("float64", copy=False)
    if not values.size:
        return values
    units = [unit for unit in (1e9, 1e6, 1e3) if values.min() >= 1e8 * unit]
    if units:
        values = values / units[0]
    for wrong in (values.min(), values.max()):
        if not -(2**31) <= wrong < 2**31:  # NaN is neither
            raise ValueError(
                "Timestamps must be seconds since 1970, or all be milliseconds, microseconds or "
                f"nanoseconds. Received: {wrong}"
            )
    return values


def further_columns() -> list[EventColumn]:
    """The columns that a log may have beside items and feedback."""
    known = ("", "item", "feedback")
    return [column for column in EVENT_COLUMNS.values() if column.log_column not in known]
