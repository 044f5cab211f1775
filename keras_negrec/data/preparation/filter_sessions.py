"""What `prepare` takes out of sessions because the caller asked for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ibis

from keras_negrec.data.logs.engine import Engine
from keras_negrec.data.preparation.session_table import Dropped, SessionTable, count_sessions


def filter_sessions(
    sessions: SessionTable, engine: Engine, parameters: dict[str, Any]
) -> tuple[SessionTable, list[Dropped]]:
    """Applies `min_item_count`, `min_session_length`, `require_feedback` and `k_core`, in order."""
    dropped: list[Dropped] = []
    if parameters["min_item_count"] > 1:
        sessions, found = _drop_rare_items(sessions, engine, parameters["min_item_count"])
        dropped += found
    least = parameters["min_session_length"]
    if least > 1:
        sessions, found = _drop_sessions(
            sessions, lambda t: t.num_events >= least, f"sessions with fewer than {least} events"
        )
        dropped += found
    if parameters["require_feedback"] is not None:
        keep, reason = _FEEDBACK[parameters["require_feedback"]]
        sessions, found = _drop_sessions(sessions, keep, reason)
        dropped += found
    if parameters["k_core"] is not None:
        sessions, found = _drop_below_core(sessions, engine, parameters["k_core"])
        dropped += found
    return sessions, dropped


def _lowest(table: ibis.Table):
    return table.events.map(lambda e: e.feedback).mins()


def _highest(table: ibis.Table):
    return table.events.map(lambda e: e.feedback).maxs()


_Keep = Callable[[ibis.Table], ibis.ir.BooleanValue]

_FEEDBACK: dict[str, tuple[_Keep, str]] = {
    "any": (lambda t: (_lowest(t) < 0) | (_highest(t) > 0), "sessions without any feedback"),
    "negative": (lambda t: _lowest(t) < 0, "sessions without negative feedback"),
    "both": (
        lambda t: (_lowest(t) < 0) & (_highest(t) > 0),
        "sessions without both negative and positive feedback",
    ),
}


def _drop_rare_items(
    sessions: SessionTable, engine: Engine, min_item_count: int
) -> tuple[SessionTable, list[Dropped]]:
    """Takes out the events of items with fewer than so many of them."""
    counts = sessions.events().group_by("code").agg(count=lambda t: t.count())
    rare = counts.filter(counts["count"] < min_item_count)
    totals = rare.agg(events=rare["count"].sum(), items=rare.count()).to_pyarrow().to_pylist()[0]
    if not totals["items"]:
        return sessions, []
    often = engine.store(counts.filter(counts["count"] >= min_item_count).select("code"))
    before = sessions.totals()[1]
    sessions = _regroup(sessions, sessions.events().semi_join(often, "code"), engine)
    reason = f"items with fewer than {min_item_count} events"
    emptied = before - sessions.totals()[1]
    return sessions, [Dropped(reason, int(totals["events"]), emptied, totals["items"])]


def _drop_sessions(
    sessions: SessionTable, keep: _Keep, reason: str
) -> tuple[SessionTable, list[Dropped]]:
    """Takes out the sessions that are not to be kept."""
    table = sessions.table
    events, count = count_sessions(table.filter(~keep(table)))
    if not count:
        return sessions, []
    kept = replace(sessions, table=table.filter(keep(table)))
    num_items = _num_distinct(sessions.events(), "code") - _num_distinct(kept.events(), "code")
    return kept, [Dropped(reason, events, count, num_items)]


def _drop_below_core(
    sessions: SessionTable, engine: Engine, k: int
) -> tuple[SessionTable, list[Dropped]]:
    """Takes out items and sessions, or users, with fewer than `k` events until none is left."""
    row = sessions.keys[0]
    num_events, num_sessions = sessions.totals()
    events = engine.store(sessions.events())
    num_items = _num_distinct(events, "code")
    remaining = num_events
    while True:
        for column in ("code", row):
            counts = events.group_by(column).agg(count=events.count())
            enough = counts.filter(counts["count"] >= k).select(column)
            smaller = engine.store(events.semi_join(enough, column))
            engine.drop(events)
            events = smaller
        count = int(events.count().to_pyarrow().as_py())
        if count == remaining:
            break
        remaining = count
    if remaining == num_events:
        return sessions, []
    kept = _regroup(sessions, events, engine)
    dropped = Dropped(
        f"items and {row}s outside of the {k}-core",
        num_events - remaining,
        num_sessions - kept.totals()[1],
        num_items - _num_distinct(events, "code"),
    )
    return kept, [dropped]


def _regroup(sessions: SessionTable, events: ibis.Table, engine: Engine) -> SessionTable:
    struct = ibis.struct({name: events[name] for name in sessions.fields})
    table = events.group_by(sessions.keys).agg(events=struct.collect(), num_events=events.count())
    return replace(sessions, table=engine.store(table.mutate(events=table.events.sort())))


def _num_distinct(table: ibis.Table, column: str) -> int:
    return int(table[column].nunique().to_pyarrow().as_py())
