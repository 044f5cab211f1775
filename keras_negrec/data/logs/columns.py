"""Columns of raw tables as what they should be; a value that is not becomes a `problem`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np

from keras_negrec.data.event_columns import EventColumn, further_columns
from keras_negrec.data.logs.engine import engine_errors

_ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_CLOCK = r"[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?"
_TIME = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}({_CLOCK}{_ZONE}?)?$"
_NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,2})?$"
_TRUE, _FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]


def check_columns(table: ir.Table, kinds: Mapping[str, str | EventColumn], source: str) -> ir.Table:
    """Casts columns, and says in `problem` which value of a row is the first that cannot be cast.

    The kind of a column is `"integer"`, `"number"`, `"boolean"`, `"label"` (0 or 1), `"optional
    label"` (0, 1 or missing), `"id"` (text that is not empty, or integers), `"feedback"` (a number
    without fraction), `"time"` (which becomes seconds) or `"timestamp"`; or it is a registered
    event column, whose type the column gets. A column that can never be of its kind is a ValueError
    about the `source`.
    """
    if not kinds:  # Each step, of no effect too, takes time to compile.
        return table
    values, problems = {}, [table.problem]
    for name, kind in kinds.items():
        cast, expectation = _KINDS[kind] if isinstance(kind, str) else _kind_of(kind)
        column = table[name]
        value = cast(column)
        if value is None:
            raise ValueError(
                f"In {source}: column {name!r}: {expectation}. Received type: {column.type()}"
            )
        wrong = value.isnull()
        if kind == "optional label":
            wrong = wrong & ~column.isnull()
        values[name] = value
        problems.append(problem_where(wrong, name, expectation, column))
    return table.mutate(**values, problem=ibis.coalesce(*problems))


def add_problems(table: ir.Table, *problems: ir.Value) -> ir.Table:
    """Notes the first of the problems in `problem`, in rows that had none."""
    return table.mutate(problem=ibis.coalesce(table.problem, *problems))


def problem_where(
    wrong: ir.BooleanValue, name: str, expectation: str, received: ir.Value
) -> ir.StringValue:
    """The message about the rows that are wrong, null in the others."""
    text = received.cast("string")
    if isinstance(received, ir.StringValue):  # Numbers read the same from a file and from memory.
        bare = (text == "") | text.re_search(_NUMBER) | text.isin(["inf", "-inf"])
        text = ibis.ifelse(bare, text, "'" + text + "'")
    message = f"column `{name}`: {expectation}. Received: "
    message += ibis.coalesce(text.nullif(""), "nothing")
    return ibis.ifelse(wrong, message, ibis.null("string"))


def infer_kinds(table: ir.Table, kinds: Mapping[str, str], source: str) -> dict[str, str]:
    """What columns hold, for `check_columns`. It reads all rows once, if there is text to read.

    It finds out the kinds `"id"` (integers where all are, else text: `"007"` and `"7"` stay two
    ids), `"order"` (numbers or times, whichever are more), `"feedback"` and `"any"` (whatever all
    values are). Feedback that is true or false is a ValueError: it does not say what is a skip.
    """
    parses = dict(booleans=_boolean, integers=to_integers, numbers=_number, times=to_times)
    sound = table.filter(table.problem.isnull())
    counts, seen = {}, {}
    for name, kind in kinds.items():
        # A type that is none of text holds one sort of values, as a column of one value would.
        seen[name, "values"] = 1
        is_text = isinstance(table[name], ir.StringValue)
        if is_text:
            counts[f"{name} values"] = sound[name].nullif("").count()
        for what, parse in parses.items():
            parsed = parse(sound[name].nullif("") if is_text else sound[name])
            seen[name, what] = int(parsed is not None and not is_text)
            if is_text and (kind != "id" or what == "integers"):
                counts[f"{name} {what}"] = parsed.count()
    with engine_errors(source):
        found = sound.aggregate(**counts).to_pyarrow().to_pylist()[0] if counts else {}
    seen |= {tuple(name.rsplit(" ", 1)): count for name, count in found.items()}
    inferred = dict(kinds)
    for name, kind in kinds.items():
        is_all = [what for what in parses if seen[name, what] == seen[name, "values"] > 0]
        if kind == "feedback" and "booleans" in is_all:
            raise ValueError(
                f"In {source}: column {name!r} is true or false, which does not say what is a "
                f'skip. Expected for example feedback={{"column": {name!r}, "values": '
                f"{{True: -1, False: 1}}}}. Received: feedback={name!r}"
            )
        integers, numbers, times = (seen[name, what] for what in ("integers", "numbers", "times"))
        if kind == "id":
            inferred[name] = "integer" if "integers" in is_all else "id"
        elif kind == "order":
            is_whole = integers and integers == numbers
            is_time = times and times >= numbers
            inferred[name] = "time" if is_time else "integer" if is_whole else "number"
        elif kind == "any":
            sort = is_all[0].removesuffix("s") if is_all else "text"
            inferred[name] = "timestamp" if sort == "time" else sort
    return inferred


def typed(table: ir.Table, kinds: Mapping[str, str]) -> ir.Table:
    """Columns of text as what `infer_kinds` found in all their values, empty ones as null."""
    casts = {name: _KINDS[kind][0] if kind in _KINDS else _id for name, kind in kinds.items()}
    return table.mutate(**{name: cast(table[name]) for name, cast in casts.items()})


def registered() -> dict[str, EventColumn]:
    """The event columns that are no part of every table of events, by what logs call them."""
    found = {str(column.log_column): column for column in further_columns()}
    return {name: column for name, column in found.items() if name != "timestamp"}


def _kind_of(event_column: EventColumn) -> tuple[Callable[[ir.Value], Any], str]:
    """What `_KINDS` holds, for the type of a registered event column."""
    dtype = np.dtype(event_column.dtype)
    if not np.issubdtype(dtype, np.integer):

        def number(column: ir.Value) -> Any:
            is_time = isinstance(column, ir.TimestampValue)
            value = _seconds(column) if is_time else _number(column)
            return _if_any(value, lambda value: value.cast(event_column.dtype))

        return number, "expected a number"
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max

    def whole(column: ir.Value) -> Any:
        integers = (
            _feedback(column) if isinstance(column, ir.FloatingValue) else to_integers(column)
        )
        truth = _if_any(_boolean(column), lambda value: value.cast("int64"))
        values = [value for value in (integers, truth) if value is not None]  # Text may be either.
        if not values:
            return None
        in_range = ibis.coalesce(*values).between(max(least, -(2**63)), min(most, 2**63 - 1))
        return ibis.ifelse(in_range, ibis.coalesce(*values), None).cast(event_column.dtype)

    return whole, f"expected a whole number from {least} to {most}"


def _if_any(value: Any, change: Callable[[Any], Any]) -> Any:
    return None if value is None else change(value)


def to_integers(column: ir.Value) -> Any:
    """int64, null where there is no integer; None for a type that holds no integers."""
    if isinstance(column, ir.StringValue):
        value = column.try_cast("int64")
        # No sign, space or zero in front: text that an integer does not give back is an id.
        return ibis.ifelse(value.cast("string") == column, value, None)
    return column.try_cast("int64") if isinstance(column, ir.IntegerValue) else None


def to_times(column: ir.Value) -> Any:
    """Timestamps without a zone, in UTC; None for a type that holds no times."""
    if isinstance(column, ir.StringValue):
        # The engines pass over the zone, each in its own way.
        zone = column.re_extract(rf":[0-9]{{2}}(?:[.][0-9]+)?{_ZONE}$", 1)
        text = ibis.ifelse(column.re_search(_TIME), column, None)
        time = text.left(column.length() - zone.length()).try_cast("timestamp(6)")
        minutes = ibis.ifelse(zone.length() > 3, zone.left(1) + zone.right(2), "0")
        offset = zone.left(3).try_cast("int64") * 60 + minutes.try_cast("int64")
        return time - ibis.coalesce(offset, 0).as_interval("m")
    if isinstance(column, (ir.DateValue, ir.TimestampValue)):
        return column.cast("timestamp(6)")
    return None


def _seconds(time: ir.TimestampValue) -> ir.Value:
    """Seconds since 1970, with microseconds."""
    time = time.cast("timestamp(6)")
    if time.get_backend().name == "pyspark":
        return time.cast("float64")
    return time.truncate("s").epoch_seconds().cast("int64") + time.microsecond() / 1e6


def _number(column: ir.Value) -> Any:
    if isinstance(column, ir.StringValue):
        return ibis.ifelse(column.re_search(_NUMBER), column, None).try_cast("float64")
    if isinstance(column, ir.FloatingValue):
        return ibis.ifelse(column.isnan() | column.isinf(), None, column.cast("float64"))
    is_number = isinstance(column, ir.NumericValue) and not isinstance(column, ir.BooleanValue)
    return column.cast("float64") if is_number else None


def _boolean(column: ir.Value) -> Any:
    if isinstance(column, ir.StringValue):  # Lists are quicker than lower case.
        return ibis.cases((column.isin(_TRUE), True), (column.isin(_FALSE), False))
    return column if isinstance(column, ir.BooleanValue) else None


def _label(column: ir.Value) -> Any:
    return _if_any(to_integers(column), lambda value: ibis.ifelse(value.isin([0, 1]), value, None))


def _id(column: ir.Value) -> Any:
    return column.nullif("") if isinstance(column, ir.StringValue) else to_integers(column)


def _feedback(column: ir.Value) -> Any:
    value = _number(column)
    return None if value is None else ibis.ifelse(value == value.floor(), value, None).cast("int64")


_KINDS: dict[str, tuple[Callable[[ir.Value], Any], str]] = {
    "integer": (to_integers, "expected a whole number"),
    "number": (_number, "expected a number"),
    "boolean": (_boolean, "expected true or false"),
    "label": (_label, "expected 0 or 1"),
    "optional label": (_label, "expected 0, 1 or missing"),
    "id": (_id, "expected an id"),
    "feedback": (_feedback, "expected a whole number"),
    "time": (lambda column: _if_any(to_times(column), _seconds), "expected a time"),
    "timestamp": (to_times, "expected a time"),
}


def plain_text(column: ir.Value) -> ir.StringValue:
    """Values as text whatever their type: `true`, `1` and not `1.0`, and nothing for none."""
    if isinstance(column, ir.StringValue):
        text = column.strip()
        whole = text.re_replace(r"^([-+]?[0-9]+)[.]0*$", r"\1")
        truth = (text.isin(_TRUE), "true"), (text.isin(_FALSE), "false")
        return ibis.coalesce(ibis.cases(*truth, else_=whole), "")
    if isinstance(column, ir.FloatingValue):
        column = ibis.ifelse(column.isnan(), None, column)
        whole = ibis.ifelse(column == column.floor(), column, None).try_cast("int64")
        return ibis.coalesce(whole.cast("string"), column.cast("string"), "")
    return ibis.coalesce(column.cast("string"), "")
