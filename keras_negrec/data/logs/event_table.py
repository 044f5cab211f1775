"""From a scan to the table of its sound events, with every other row accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import ibis
import ibis.expr.types as ir
import pandas as pd

from keras_negrec.data.logs.columns import check_columns, problem_where, registered
from keras_negrec.data.logs.engine import Engine
from keras_negrec.data.logs.files import EXCLUDED, UnreadableFileError, line_number
from keras_negrec.data.logs.formats import Scan, numbers_rows

_ID, _NUMBER = ("string", "integer"), ("integer", "floating")
_TYPES = {"session": _ID, "user": _ID, "item": _ID, "feedback": ("integer",)}
_TYPES |= {"position": _NUMBER, "timestamp": _NUMBER}


@dataclass(frozen=True)
class EventTable:
    """The sound events of a log, and what is known of the others.

    `table` is stored, with the columns `session`, `item`, `feedback`, `order` (what the events of
    a session are ordered by), `file` and, where the log has them, `user`, `row`, `time`,
    `session_length`, `split`, and registered event columns.
    """

    table: ibis.Table
    num_read: int  # rows of the log
    problems: Counter[str]  # how many rows have which
    ordered_by: str  # "position", "timestamp" or else "row", the order of the file
    faulty: ibis.Table  # the rows with a problem
    unreadable: dict[str, str]  # what is wrong with each file that was left out
    several_files: bool  # whether the sound events are of more than one
    keeps_ties: bool  # whether two items at one position are no fault, and stay in the log's order
    by_gap: bool  # whether the scan has made sessions of the times of users' events


def read_events(
    scan: Scan, source, options: dict, engine: Engine, errors: str, *, number_rows: bool = False
) -> EventTable:
    """Reads a log once and stores its sound events in the engine.

    `options` are what the scan takes beside the source; `errors` is that of `read_log`.
    `number_rows` adds `row` where the scan can; without it `row` is there only where it is needed
    to order events of the same time, events without a time or position, or the sessions of a user.
    """
    unreadable: dict[str, str] = {}

    def scan_readable(**more) -> ibis.Table:
        """With `errors="skip"`, of all files that can be read; the others are noted."""
        while True:
            token = EXCLUDED.set(frozenset(unreadable))
            try:
                events = scan(source, engine.connection, **options, **more)
                return _checked(events, scan, source)
            except UnreadableFileError as error:
                if errors == "raise" or error.path in unreadable:
                    raise
                unreadable[error.path] = str(error)
            finally:
                EXCLUDED.reset(token)

    can_number = numbers_rows(scan) and engine.connection.name == "duckdb"
    events = scan_readable(**{"number_rows": True} if number_rows and can_number else {})
    orders = [name for name in ("position", "timestamp", "row") if name in events.columns]
    needs_row = "position" not in orders or (
        "user" in events.columns and "timestamp" not in events.columns
    )
    if needs_row and can_number and "row" not in orders:
        events, orders = scan_readable(number_rows=True), [*orders, "row"]
    if not orders:
        raise ValueError(
            "Here events need a column `position` or `timestamp` for their order. Received "
            f"columns: {list(events.columns)}"
        )
    kept = ["session", "item", "feedback", "file", "problem", "user", "row", "session_length"]
    kept += ["split", *registered()]
    columns = {name: events[name] for name in kept if name in events.columns}
    columns["order"] = events[orders[0]]
    if "timestamp" in orders:
        columns["time"] = events.timestamp
    stored = engine.store(events.select(**columns))
    by_kind = stored.group_by(kind=stored.problem.split(" Received:")[0]).agg(
        rows=stored.count(), first=stored.file.min(), last=stored.file.max()
    )
    kinds = by_kind.to_pyarrow().to_pylist()
    kinds.sort(key=lambda kind: (-kind["rows"], kind["kind"] or ""))
    num_read = sum(kind["rows"] for kind in kinds)
    problems = Counter({kind["kind"]: kind["rows"] for kind in kinds if kind["kind"] is not None})
    if problems and errors == "raise":
        _raise_first(scan, source, options, stored, problems.total())
    if num_read == problems.total():
        raise ValueError(
            f"In {source_name(source)}: there are no events. Received {num_read} rows, "
            f"{problems.total()} of them with a problem: {dict(problems)}"
        )
    return EventTable(
        stored.filter(stored.problem.isnull()).drop("problem") if problems else stored,
        num_read,
        problems,
        orders[0],
        faulty=stored.filter(stored.problem.notnull()),
        unreadable=unreadable,
        several_files=any(kind["kind"] is None and kind["first"] != kind["last"] for kind in kinds),
        keeps_ties="row" in events.columns and not numbers_rows(scan),
        by_gap="seconds_to_next" in events.columns,
    )


def nothing_remains(num_read: int, dropped: Iterable[tuple[str, int]]) -> ValueError:
    """What is raised where all events were dropped, each with its reason and how many."""
    counts = "; ".join(f"{count} events dropped: {reason}" for reason, count in dropped)
    return ValueError(f"Nothing remains of {num_read} events. Received: {counts}")


def _checked(events: Any, scan: Scan, source) -> ibis.Table:
    """What a scan has returned, with all columns as they must be and a `problem` where not."""
    needed = {"session", "item", "feedback"}
    if not isinstance(events, ir.Table) or not needed <= set(events.columns):
        received = list(events.columns) if isinstance(events, ir.Table) else type(events).__name__
        raise ValueError(
            f"The format `{getattr(scan, '__name__', scan)}` must return an Ibis table with the "
            "columns `session`, `item`, `feedback` and, where the log has them, `user`, "
            f"`position` and `timestamp`. Received: {received}"
        )
    name = source_name(source)
    defaults = {"file": ibis.literal(name), "problem": ibis.null("string")}
    missing = {column: defaults[column] for column in defaults if column not in events.columns}
    events = events.mutate(**missing) if missing else events
    known = [column for column in _TYPES if column in events.columns]
    times = [column for column in known if events[column].type().is_temporal()]
    times = [column for column in times if _TYPES[column] == _NUMBER]
    events = check_columns(events, dict.fromkeys(times, "time"), name)
    problems = [events.problem]
    for column in known:
        dtype, kinds = events[column].type(), _TYPES[column]
        if not any(getattr(dtype, f"is_{kind}")() for kind in kinds):
            raise ValueError(
                f"In {name}: the scan's column `{column}` must be {' or '.join(kinds)}. "
                f"Received: {dtype}"
            )
        problem = f"column `{column}`: the value is missing"
        problems.append(ibis.ifelse(events[column].isnull(), problem, ibis.null("string")))
    feedback, wrong = events.feedback, ~events.feedback.between(-2, 2)
    problems.append(problem_where(wrong, "feedback", "expected -2, -1, 0, 1 or 2", feedback))
    feedback = ibis.ifelse(wrong, None, feedback).cast("int8")
    events = events.mutate(feedback=feedback, problem=ibis.coalesce(*problems))
    further = {log: column for log, column in registered().items() if log in events.columns}
    return check_columns(events, further, name)


def _raise_first(scan: Scan, source, options: dict, events: ibis.Table, count: int) -> NoReturn:
    bad = events.filter(events.problem.notnull())
    if "row" not in events.columns and numbers_rows(scan):
        # Again, with its rows numbered, which takes more time than without.
        again = scan(source, ibis.duckdb.connect(), **options, number_rows=True)
        bad = _checked(again, scan, source).filter(ibis._.problem.notnull())
    order = ["file", "row"] if "row" in bad.columns else ["file", "problem"]
    first = bad.order_by(order).limit(1).select(*dict.fromkeys([*order, "problem"]))
    [first] = first.to_pyarrow().to_pylist()
    place = first["file"]
    if "row" in first:
        is_text = not str(place).endswith(".parquet") and not isinstance(source, pd.DataFrame)
        row = line_number(place, first["row"]) if is_text else first["row"]
        place = f"{place}, {'line' if is_text else 'row'} {row}"
    others = f"{count} rows have a problem" if count > 1 else "It is the only row with a problem"
    raise ValueError(
        f"In {place}, {first['problem']}\n{others}; "
        'errors="skip" counts such rows and leaves them out.'
    )


def source_name(source) -> str:
    """What messages call a log."""
    if isinstance(source, pd.DataFrame):
        return "the DataFrame"
    is_path = isinstance(source, str) or hasattr(source, "__fspath__")
    return str(source) if is_path else "the log"
