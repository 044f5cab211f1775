"""From a scan to the table of its sound events, with every other row accounted for."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import ibis

from keras_negrec.argument_checks import check_choice
from keras_negrec.data import logs
from keras_negrec.data.logs.engine import Engine
from keras_negrec.data.logs.files import EXCLUDED, UnreadableFileError

Scan = Callable[..., ibis.Table]


@dataclass(frozen=True)
class EventTable:
    """The sound events of a log.

    Args:
        table: stored, with the columns `session`, `item`, `feedback`, `order` (what the events
            of a session are ordered by), `file` and, where the log has them, `user`, `row`,
            `time` and `session_length`.
        num_read: how many rows the log has.
        problems: how many rows have which problem.
        ordered_by: `"position"`, `"timestamp"` or else `"row"`, the order of the file.
        faulty: the rows with a problem.
        unreadable: what is wrong with each file that was left out.
    """

    table: ibis.Table
    num_read: int
    problems: Counter[str]
    ordered_by: str
    faulty: ibis.Table
    unreadable: dict[str, str]


def scan_formats() -> list[str]:
    """The names of all formats that can be scanned."""
    modules = [module.name for module in pkgutil.iter_modules(logs.__path__)]
    modules.remove("mssd_track_features")  # a table of items
    return [name for name in modules if not name.startswith("_") and _scan_of(name)]


def find_scan(format: str) -> Scan:
    """The scan of a format.

    Raises:
        ValueError: an unknown format.
    """
    check_choice("format", format, tuple(scan_formats()))
    return _scan_of(format)


def _scan_of(format: str):
    module = importlib.import_module(f"{logs.__name__}.{format}")
    return getattr(module, f"scan_{format}", None)


def check_format_options(format: str, scan: Scan, options: dict) -> None:
    """A ValueError unless the options are what the reader of the format takes."""
    parameters = list(inspect.signature(scan).parameters.values())[2:]
    parameters = [parameter for parameter in parameters if parameter.name != "number_rows"]
    known = [parameter.name for parameter in parameters]
    needed = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    missing = [name for name in needed if name not in options]
    unknown = [name for name in options if name not in known]
    if missing or unknown:
        raise ValueError(
            f"`format_options` of format {format!r} must be of {', '.join(known) or 'nothing'}"
            f"{', with ' + ' and '.join(needed) if needed else ''}. Received: {options}"
        )


def read_events(scan: Scan, source, options: dict, engine: Engine, errors: str) -> EventTable:
    """Reads a log once and stores its sound events.

    Args:
        scan: of a format.
        source: what the scan takes.
        options: what else the scan takes.
        engine: where to store.
        errors: `"raise"`, or `"skip"` to count rows with a problem and leave them out, and to
            leave out files that cannot be read.

    Raises:
        ValueError: a row with a problem or a file that cannot be read, with `errors="raise"`; no
            sound rows at all; nothing to order events by.
    """
    unreadable: dict[str, str] = {}
    events = _scan_readable(scan, source, options, engine, errors, unreadable)
    orders = ("position", "timestamp", "row")
    if not set(orders) & set(events.columns):
        if engine.connection.name != "duckdb":
            raise ValueError(
                "Here events need a column `position` or `timestamp` for their order. Received "
                f"columns: {list(events.columns)}"
            )
        numbered = {**options, "number_rows": True}
        events = _scan_readable(scan, source, numbered, engine, errors, unreadable)
    ordered_by = next(column for column in orders if column in events.columns)
    events = _with_missing(events)
    columns = {"session": events.session, "item": events.item, "feedback": events.feedback}
    columns |= {"order": events[ordered_by], "file": events.file, "problem": events.problem}
    for name in ("user", "row", "session_length"):
        if name in events.columns:
            columns[name] = events[name]
    if "timestamp" in events.columns:
        columns["time"] = events["timestamp"]
    columns["feedback"] = columns["feedback"].cast("int8")
    stored = engine.store(events.select(**columns))
    kind = stored.problem.split(" Received:")[0]
    faulty = stored.filter(stored.problem.notnull())
    counts = faulty.group_by(kind=kind).agg(rows=lambda t: t.count()).to_pyarrow().to_pylist()
    problems = Counter({row["kind"]: row["rows"] for row in counts})
    if problems and errors == "raise":
        _raise_first(scan, source, options, stored, problems.total())
    num_read = int(stored.count().to_pyarrow().as_py())
    if num_read == problems.total():
        raise ValueError(
            f"In {_name(source)}: there are no events. Received {num_read} rows, "
            f"{problems.total()} of them with a problem: {dict(problems)}"
        )
    sound = stored.filter(stored.problem.isnull()).drop("problem")
    return EventTable(sound, num_read, problems, ordered_by, faulty, unreadable)


def _scan_readable(
    scan: Scan, source, options: dict, engine: Engine, errors: str, unreadable: dict[str, str]
) -> ibis.Table:
    """The scan, with `errors="skip"` of all files that can be read; the others are noted."""
    while True:
        token = EXCLUDED.set(frozenset(unreadable))
        try:
            return scan(source, engine.connection, **options)
        except UnreadableFileError as error:
            if errors == "raise" or error.path in unreadable:
                raise
            unreadable[error.path] = str(error)
        finally:
            EXCLUDED.reset(token)


def _with_missing(events: ibis.Table) -> ibis.Table:
    """The scan, in which a missing value or feedback out of range is a problem too."""
    names = ("session", "user", "item", "feedback", "position", "timestamp")
    found = [events.problem]
    for name in names:
        if name in events.columns:
            message = f"column `{name}`: the value is missing"
            found.append(ibis.ifelse(events[name].isnull(), message, ibis.null("string")))
    wrong = ~events.feedback.between(-2, 2)
    message = "column `feedback`: expected -2, -1, 0, 1 or 2. Received: "
    text = ibis.literal(message) + events.feedback.cast("string")
    found.append(ibis.ifelse(wrong, text, ibis.null("string")))
    return events.mutate(problem=ibis.coalesce(*found))


def _raise_first(scan: Scan, source, options: dict, events: ibis.Table, count: int):
    bad = events.filter(events.problem.notnull())
    file = bad.file.min().to_pyarrow().as_py()
    if "row" not in events.columns:
        # That file again, with its rows numbered, which takes more time than without.
        again = _with_missing(scan(file, ibis.duckdb.connect(), **options, number_rows=True))
        bad = again.filter(again.problem.notnull())
    first = bad.filter(bad.file == file).order_by("row").limit(1)
    [row] = first.select("row", "problem").to_pyarrow().to_pylist()
    kind = "row" if not isinstance(file, str) or not _is_text(file) else "line"
    others = f"{count} rows have a problem" if count > 1 else "It is the only row with a problem"
    raise ValueError(
        f"In {file}, {kind} {row['row']}, {row['problem']}\n{others}; "
        'errors="skip" counts such rows and leaves them out.'
    )


def _is_text(file: str) -> bool:
    return not file.endswith(".parquet") and file != "the DataFrame"


def _name(source) -> str:
    return str(source) if isinstance(source, str) or hasattr(source, "__fspath__") else "the log"
