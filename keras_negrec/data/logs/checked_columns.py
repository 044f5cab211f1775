"""Columns of raw tables as what they should be; a value that is not becomes a `problem`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ibis
import ibis.expr.types as ir

# What survives the way to an integer and back: no leading zeros, no more than 18 digits.
INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}|$)"
_NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,2})?$"


def check_columns(table: ir.Table, kinds: Mapping[str, str], source: str) -> ir.Table:
    """Casts columns, and says in `problem` which value of a row is the first that cannot be cast.

    Args:
        table: a table with the column `problem`.
        kinds: for each column to cast `"integer"`, `"number"`, `"boolean"`, `"label"` (0 or 1),
            `"optional label"` (0, 1 or missing), `"id"` (text that is not empty, or integers),
            `"feedback"` (a number without fraction) or `"number or time"` (times become seconds).
        source: the file, for messages.

    Raises:
        ValueError: a column whose type is none of those that the kind may come from.
    """
    values, problems = {}, [table.problem]
    for name, kind in kinds.items():
        cast, expectation = _KINDS[kind]
        column = table[name]
        value = cast(column)
        if value is None:
            raise ValueError(
                f"In {source}: column {name!r}: {expectation}. Received type: {column.type()}"
            )
        wrong = value.isnull()
        if kind.startswith("optional"):
            wrong = wrong & ~column.isnull()
        values[name] = value
        problems.append(problem_where(wrong, name, expectation, column))
    return table.mutate(**values, problem=ibis.coalesce(*problems))


def problem_where(
    wrong: ir.BooleanValue, name: str, expectation: str, received: ir.Value
) -> ir.StringValue:
    """The message about the rows that are wrong, null in the others."""
    text = received.cast("string")
    if isinstance(received, ir.StringValue):
        text = "'" + text + "'"
    message = f"column `{name}`: {expectation}. Received: " + ibis.coalesce(text, "None")
    return ibis.ifelse(wrong, message, ibis.null("string"))


def to_integers(column: ir.Value) -> ir.Value | None:
    """int64, null where there is no integer; None for a type that holds no integers."""
    if isinstance(column, ir.StringValue):
        value = column.try_cast("int64")
        # No sign, space or zero in front: text that an integer does not give back is an id.
        return ibis.ifelse(value.cast("string") == column, value, None)
    return column.cast("int64") if isinstance(column, ir.IntegerValue) else None


def _number(column: ir.Value) -> ir.Value | None:
    if isinstance(column, ir.StringValue):
        return ibis.ifelse(column.re_search(_NUMBER), column, None).try_cast("float64")
    if isinstance(column, ir.FloatingValue):
        return ibis.ifelse(column.isnan() | column.isinf(), None, column.cast("float64"))
    is_number = isinstance(column, ir.NumericValue) and not isinstance(column, ir.BooleanValue)
    return column.cast("float64") if is_number else None


def _boolean(column: ir.Value) -> ir.Value | None:
    if isinstance(column, ir.StringValue):  # Lists are quicker than lower case.
        return ibis.cases(
            (column.isin(["true", "True", "TRUE"]), True),
            (column.isin(["false", "False", "FALSE"]), False),
        )
    return column if isinstance(column, ir.BooleanValue) else None


def _label(column: ir.Value) -> ir.Value | None:
    value = to_integers(column)
    return None if value is None else ibis.ifelse(value.isin([0, 1]), value, None)


def _id(column: ir.Value) -> ir.Value | None:
    if isinstance(column, ir.StringValue):
        return column.nullif("")
    return to_integers(column)


def _feedback(column: ir.Value) -> ir.Value | None:
    value = _number(column)
    return None if value is None else ibis.ifelse(value == value.floor(), value, None).cast("int64")


def _number_or_time(column: ir.Value) -> ir.Value | None:
    if isinstance(column, ir.StringValue):
        time = ibis.ifelse(column.re_search(_TIME), column, None).try_cast("timestamp")
        return ibis.coalesce(_number(column), _seconds(time))
    if isinstance(column, ir.DateValue):
        return _seconds(column.cast("timestamp"))
    return _seconds(column) if isinstance(column, ir.TimestampValue) else _number(column)


def _seconds(time: ir.TimestampValue) -> ir.Value:
    # On DuckDB `epoch_seconds` has fractions; Spark tells no more than milliseconds.
    return time.truncate("s").epoch_seconds() + time.millisecond() / 1000


_KINDS: dict[str, tuple[Callable[[ir.Value], ir.Value | None], str]] = {
    "integer": (to_integers, "expected a whole number"),
    "number": (_number, "expected a number"),
    "boolean": (_boolean, "expected true or false"),
    "label": (_label, "expected 0 or 1"),
    "optional label": (_label, "expected 0, 1 or missing"),
    "id": (_id, "expected an id"),
    "feedback": (_feedback, "expected a whole number"),
    "number or time": (_number_or_time, "expected a number or a time"),
}
