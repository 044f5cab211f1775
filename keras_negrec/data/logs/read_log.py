"""A log of any format as a table of events in memory."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import ibis
import pandas as pd

from keras_negrec.argument_checks import check_choice
from keras_negrec.data.logs.columns import registered
from keras_negrec.data.logs.engine import Engine, engine_errors
from keras_negrec.data.logs.event_table import (
    EventTable,
    nothing_remains,
    read_events,
    source_name,
)
from keras_negrec.data.logs.formats import Scan, check_format_options, find_scan
from keras_negrec.data.logs.session_faults import add_num_faulty, find_faults, session_fault


def read_log(
    path,
    format: str | Scan = "frame",
    *,
    errors: str = "raise",
    duplicates: str = "drop",
    **options,
) -> pd.DataFrame:
    """Reads a log of any format into memory, as `prepare` reads it.

    Args:
        path: a file, a folder or a list of files of that format, or a DataFrame.
        format: `"frame"` (any table, with the names of its columns in `options`), `"mssd"`,
            `"lastfm1k"`, `"yambda"`, `"kuairand"`, `"movielens"` or `"sequences"`, or a format
            of your own: a function `(path, connection, **options)` that returns an Ibis table of
            that connection with the columns `session`, `item`, `feedback` and, if there are
            any, `user`, `position` and `timestamp`.
        errors: `"raise"` raises on the first row with a problem, file that cannot be read, or
            session that contradicts itself: one in several files that is ordered by position,
            one with two items at one position, one with fewer events than it says. `"skip"`
            leaves them out, with a warning that tells how many and why.
            `events.attrs["dropped"]` holds the counts by reason.
        duplicates: what to do with events of the same item at the same position (or time, where
            there is no position) of the same session: `"drop"` keeps one, that with the
            strongest feedback, `"keep"` keeps all, `"raise"` raises.
        **options: what the format takes, as the `read_*` function of its name has it.

    Returns:
        A DataFrame of events with the columns `session`, `item`, `feedback` (int8) and, where
        the log has them, `user`, `position`, `timestamp` (numbers in the log's own unit; times
        are seconds since 1970, UTC), `split`, and those that `register_event_column` has made
        known. It has the order of the log, or that of the times of each user where sessions
        were made of times.

    Raises:
        FileNotFoundError: no such file.
        ValueError: what `errors` and `duplicates` say; whatever they say, an unknown format,
            option or rule, no events, and a column that is missing or of another type.
        TypeError: a feedback rule that does not return an integer column.

    Example:

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "plays.csv")
    >>> _ = path.write_text("user,track,at\\nann,7,2024-05-01 10:00\\nann,8,2024-05-01 10:04\\n")
    >>> keras_negrec.data.read_log(path, session="user", item="track", timestamp="at")
      session  item  feedback     timestamp
    0     ann     7         1  1.714558e+09
    1     ann     8         1  1.714558e+09
    >>> def scan_plays(path, connection):
    ...     log = connection.read_csv(path)
    ...     return log.select(session="user", item="track", feedback=1, timestamp="at")
    >>> keras_negrec.data.read_log(path, format=scan_plays)["item"].tolist()
    [7, 8]
    """
    scan = find_scan(format)
    check_format_options(format, scan, options)
    return read_scan(scan, path, errors=errors, duplicates=duplicates, **options)


def read_scan(
    scan: Scan, path, *, errors: str, duplicates: str = "drop", **options: Any
) -> pd.DataFrame:
    """What a scan finds, as `read_log` returns it."""
    check_choice("errors", errors, ("raise", "skip"))
    check_choice("duplicates", duplicates, ("drop", "keep", "raise"))
    engine = Engine(ibis.duckdb.connect(), Path(), own=True)
    try:
        with engine_errors(source_name(path)):
            log = read_events(scan, path, options, engine, errors, number_rows=True)
            table, dropped = _sound_sessions(log, errors, duplicates)
            events = _in_memory(table, log)
    finally:
        engine.close()
    dropped = {**dict(sorted(log.problems.items())), **dropped}
    if events.empty:
        raise nothing_remains(log.num_read, dropped.items())
    events.attrs["dropped"] = dropped
    if dropped or log.unreadable:
        reasons = [f"{reason} ({count})" for reason, count in dropped.items()]
        reasons += log.unreadable.values()
        warnings.warn(
            f"In {source_name(path)}: {sum(dropped.values())} of {log.num_read} events are left "
            f"out. {'; '.join(reasons)}",
            stacklevel=3,
        )
    return events


def _sound_sessions(
    log: EventTable, errors: str, duplicates: str
) -> tuple[ibis.Table, dict[str, int]]:
    """The events of sessions that do not contradict themselves, and how many others there are."""
    events = log.table
    if log.ordered_by == "row" and not log.several_files:
        return events, {}
    keys = ["user", "session"] if "user" in events.columns else ["session"]
    place = ibis.struct({"order": events.order, "item": events["item"]})
    measures = {"num_read": events.count(), "num_distinct": place.nunique()}
    if log.several_files:
        measures |= {"file": events.file.min(), "other_file": events.file.max()}
    if log.ordered_by == "position" and not log.keeps_ties:
        measures["num_orders"] = events.order.nunique()
    if "session_length" in events.columns:
        measures["session_length"] = events.session_length.max()
    sessions = events.group_by(keys).agg(**measures)
    if "session_length" in events.columns:
        sessions = add_num_faulty(sessions, log)
    sessions = sessions.mutate(fault=session_fault(sessions, log))
    num_duplicates, found = find_faults(sessions, log, keys, duplicates, errors)
    dropped: dict[str, int] = {}
    if num_duplicates and duplicates == "drop":
        strongest = [-events.feedback.abs(), events.feedback]
        strongest += [events[name] for name in ("file", "row") if name in events.columns]
        same = ibis.window(group_by=[*keys, "order", "item"], order_by=strongest)
        nth = ibis.row_number().over(same)
        events = events.mutate(nth=nth).filter(ibis._.nth == 0).drop("nth")
        dropped["duplicate events"] = num_duplicates
    if found:
        events = events.semi_join(sessions.filter(sessions.fault.isnull()), keys)
        dropped |= {row["fault"]: row["events"] for row in found}
    return events, dropped


def _in_memory(events: ibis.Table, log: EventTable) -> pd.DataFrame:
    """The events in their order."""
    order = ["file"] * log.several_files + ["row", "order"]
    if log.by_gap:
        order = ["user", "time", "order"]
    names = {name: name for name in ("session", "user", "item", "feedback")}
    names |= {"position": "order"} if log.ordered_by == "position" else {}
    names |= {"timestamp": "time"} | {name: name for name in ("split", *registered())}
    columns = {to: events[name] for to, name in names.items() if name in events.columns}
    events = events.order_by([name for name in order if name in events.columns])
    return events.select(**columns).to_pyarrow().to_pandas()
