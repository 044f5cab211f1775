"""Which columns of events travel from a log to a model, said in this one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EventColumn:
    """What all rooms must know of a column of events: see `register_event_column`.

    `log_column` is "" for a column that is not read but made.
    """

    name: str
    log_column: str
    dtype: str = "int32"
    input_dtype: str = "int32"
    masked: int | float | None = None


# A new column is one line here, or one call of `register_event_column`.
EVENT_COLUMNS: dict[str, EventColumn] = {
    column.name: column
    for column in (
        EventColumn("item_ids", "item"),
        EventColumn("feedback", "feedback", dtype="int8", masked=0),
        EventColumn("session_ids", ""),
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


def further_columns() -> list[EventColumn]:
    """The columns that a log may have beside items and feedback."""
    known = ("", "item", "feedback")
    return [column for column in EVENT_COLUMNS.values() if column.log_column not in known]
