"""Events to sessions: a table with one row a session that holds its events as a sorted array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ibis

from keras_negrec.data.logs.columns import registered
from keras_negrec.data.logs.engine import Engine
from keras_negrec.data.logs.event_table import EventTable
from keras_negrec.data.logs.gaps import split_at_gaps
from keras_negrec.data.logs.session_faults import (
    add_num_faulty,
    find_faults,
    is_bound_to_file,
    session_fault,
)


@dataclass(frozen=True)
class Dropped:
    """What one reason has taken out."""

    reason: str
    events: int
    sessions: int = 0
    items: int = 0


@dataclass(frozen=True)
class SessionTable:
    """Sessions in an engine.

    Args:
        table: the columns of `keys`, `events` (a sorted array of structs) and `num_events`.
        keys: `["session"]` or `["user", "session"]`.
        fields: names of the fields of an event: `order`, `code` and `feedback`, with `row` and
            `time` where they are known and needed, and the further columns of the log.
        items: stored, `item` and its provisional `code`.
        time: the name of the field that holds the time of an event, if any does.
    """

    table: ibis.Table
    keys: list[str]
    fields: list[str]
    items: ibis.Table
    time: str | None

    def events(self) -> ibis.Table:
        """One row an event: the columns of `keys` and `fields`."""
        return self.table.select(*self.keys, "events").unnest("events").unpack("events")

    def totals(self) -> tuple[int, int]:
        """The number of events and of sessions."""
        totals = self.table.agg(events=self.table.num_events.sum(), sessions=self.table.count())
        [row] = totals.to_pyarrow().to_pylist()
        return int(row["events"] or 0), int(row["sessions"])


def to_sessions(
    log: EventTable, engine: Engine, parameters: dict[str, Any], several_files: bool
) -> tuple[SessionTable, list[Dropped], dict[str, int]]:
    """Groups events to sessions, and takes out duplicates and sessions that contradict themselves.

    Returns:
        The sessions, what was taken out, and how many sessions or events are odd but kept.
    """
    events = log.table
    by_user, session_gap = parameters["group_by"] == "user", parameters["session_gap"]
    duplicates = parameters["duplicates"]
    keys = ["user", "session"] if by_user else ["session"]
    counted = events.group_by("item").agg(count=events.count())
    window = ibis.window(order_by=[ibis.desc("count"), "item"])
    code = ibis.row_number().over(window).cast("int32") + 1
    items = engine.store(counted.select("item", code=code))
    if session_gap is not None:
        events = split_at_gaps(events, session_gap, keys, session="session", time="time")
    events = events.join(items, "item")
    has_row = "row" in events.columns
    keep_time = "time" in events.columns and log.ordered_by != "timestamp"
    names = [(name, column.dtype) for name, column in registered().items()]
    further = {name: events[name].cast(dtype) for name, dtype in names if name in events.columns}
    events = events.mutate(**further)
    more = ["row"] * has_row + ["time"] * keep_time
    if several_files and has_row and log.ordered_by == "timestamp":
        more = ["file", *more]  # a row is counted from the start of its file
    others = ["feedback", *further]
    # In this order equal events are neighbors, and the first of them is the one to keep: the
    # strongest feedback, and of two equally strong ones the negative.
    strength = -events.feedback.abs()
    struct = ibis.struct(
        {"order": events.order, "code": events.code, "strength": strength}
        | {name: events[name] for name in [*others, *more]}
    )
    measures = {"events": struct.collect(), "num_read": events.count()}
    if several_files:
        measures |= {"file": events.file.min(), "other_file": events.file.max()}
    if "user" in events.columns and not by_user:
        measures |= {"user": events.user.min(), "other_user": events.user.max()}
    if "session_length" in events.columns and session_gap is None:
        measures["session_length"] = events.session_length.max()
    sessions = events.group_by(keys).agg(**measures)
    sessions = sessions.mutate(events=sessions.events.sort())
    if "session_length" in measures:
        sessions = add_num_faulty(sessions, log)
    # Stored before it is looked at from within lambdas, which would sort for each element.
    sessions = engine.store(sessions)
    distinct = _first_of_equals(sessions.events, "order", "code")
    looks = {"num_distinct": distinct.length()}
    if log.ordered_by == "position" and not log.keeps_ties:
        looks["num_orders"] = _first_of_equals(sessions.events, "order").length()
    looked = sessions.mutate(**looks)
    looked = looked.mutate(fault=session_fault(looked, log))

    num_duplicates, found = find_faults(looked, log, keys, duplicates, parameters["errors"])
    dropped, odd = [], {}
    table = sessions
    if num_duplicates and duplicates == "drop":
        dropped.append(Dropped("duplicate events", num_duplicates))
        table = sessions.mutate(events=distinct)
    if num_duplicates and duplicates == "keep":
        odd["duplicate events"] = num_duplicates
    if several_files and not is_bound_to_file(sessions.columns, log):
        across = sessions.filter(sessions.file != sessions.other_file).count()
        odd["sessions in several files"] = int(across.to_pyarrow().as_py())
    if found:
        dropped += [Dropped(row["fault"], row["events"], row["sessions"]) for row in found]
        faultless = looked.filter(looked.fault.isnull()).select(*keys)
        table = table.semi_join(faultless, keys)
    if table is not sessions:
        table = engine.store(table.select(*keys, "events"))
    fields = ["order", "code", "strength", *others, *more]
    if has_row:  # Events of the same order stay in that of the table.
        fields = ["order", *more, "code", *others]
        in_order = table.events.map(lambda e: ibis.struct({name: e[name] for name in fields}))
        table = engine.store(table.select(*keys, events=in_order.sort()))
    table = table.select(*keys, "events", num_events=table.events.length())
    time = "order" if log.ordered_by == "timestamp" else ("time" if keep_time else None)
    return SessionTable(table, keys, fields, items, time), dropped, odd


def to_rows(sessions: SessionTable, seed: int) -> ibis.Table:
    """One row a session, or one a user's history, in an order that is random but always the same.

    Columns are `digest`, 32 characters that give the order, `key`, an array for each column of
    events (`item_ids` are codes; `session_ids` where rows are of users; `timestamps` where the
    log has them).
    """
    table, time = sessions.table, sessions.time
    if sessions.keys == ["session"]:
        table = table.select("events", key=table.session)
    else:
        begin = {"time": table.events.map(lambda e: e[time]).mins()} if time else {}
        if "row" in sessions.fields:
            begin["row"] = table.events.map(lambda e: e.row).mins()
        table = table.mutate(**{f"begin_{name}": value for name, value in begin.items()})
        names = [*(f"begin_{name}" for name in begin), "session", "events"]
        whole = ibis.struct({name: table[name] for name in names})
        table = table.group_by(key=table.user).agg(sessions=whole.collect())
        table = table.mutate(sessions=table.sessions.sort())
        numbers = table.sessions.map(lambda s, index: s.events.map(lambda _: index.cast("int32")))
        events = table.sessions.map(lambda s: s.events).flatten()
        table = table.mutate(events=events, session_ids=numbers.flatten())
    columns = {name: table[name] for name in ("session_ids",) if name in table.columns}
    fields = {"item_ids": "code", "feedback": "feedback"}
    fields |= {column.name: name for name, column in registered().items()}
    for name, field in fields.items():
        if field in sessions.fields:
            columns[name] = table.events.map(lambda e, field=field: e[field])
    if time:
        columns["timestamps"] = table.events.map(lambda e: e[time].cast("float64"))
    digest = (ibis.literal(f"{seed}:") + table.key.cast("string")).hexdigest("md5")
    return table.select("key", digest=digest, **columns).order_by("digest")


def _first_of_equals(events, *names: str):
    """The events that differ by any of the fields from the one before."""

    def is_first(event, index):
        before = events[ibis.greatest(index - 1, 0)]
        return ibis.or_(index == 0, *(event[name] != before[name] for name in names))

    return events.filter(is_first)
