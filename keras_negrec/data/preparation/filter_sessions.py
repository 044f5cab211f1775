"""What `prepare` takes out of sessions because the caller asked for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ibis

from keras_negrec.data.logs.engine import Engine
from keras_negrec.data.preparation.session_table import Dropped, SessionTable

_FEEDBACK = {
    "any": "sessions without any feedback",
    "negative": "sessions without negative feedback",
    "both": "sessions without both negative and positive feedback",
}


def filter_sessions(
    sessions: SessionTable, engine: Engine, parameters: dict[str, Any]
) -> tuple[SessionTable, list[Dropped]]:
    """Applies `min_item_count`, `min_session_length`, `require_feedback` and `k_core`, in order."""
    least, shortest = parameters["min_item_count"], parameters["min_session_length"]
    required, k, row = parameters["require_feedback"], parameters["k_core"], sessions.keys[0]
    steps = {}
    if least > 1:
        reason = f"items with fewer than {least} events"
        steps[reason] = lambda s: _regroup(s, _frequent(s.events(), "code", least), engine)
    if shortest > 1:
        steps[f"sessions with fewer than {shortest} events"] = lambda s: replace(
            s, table=s.table.filter(s.table.num_events >= shortest)
        )
    if required is not None:
        steps[_FEEDBACK[required]] = lambda s: replace(
            s, table=s.table.filter(_has_feedback(s.table, required))
        )
    if k is not None:
        steps[f"items and {row}s outside of the {k}-core"] = lambda s: _core(s, engine, k)
    dropped: list[Dropped] = []
    before = _totals(sessions) if steps else ()
    for reason, step in steps.items():
        kept = step(sessions)
        after = _totals(kept)
        if after != before:
            gone = (old - new for old, new in zip(before, after, strict=True))
            dropped.append(Dropped(reason, *gone))
            sessions, before = kept, after
    return sessions, dropped


def _totals(sessions: SessionTable) -> tuple[int, int, int]:
    """The numbers of events, sessions and items."""
    items = sessions.events().code.nunique().to_pyarrow().as_py()
    return *sessions.totals(), int(items)


def _has_feedback(table: ibis.Table, required: str) -> ibis.ir.BooleanValue:
    feedback = table.events.map(lambda e: e.feedback)
    negative, positive = feedback.mins() < 0, feedback.maxs() > 0
    return {"any": negative | positive, "negative": negative, "both": negative & positive}[required]


def _frequent(events: ibis.Table, column: str, least: int) -> ibis.Table:
    """The events whose value in the column occurs at least so often."""
    counts = events.group_by(column).agg(count=events.count())
    return events.semi_join(counts.filter(counts["count"] >= least), column)


def _core(sessions: SessionTable, engine: Engine, k: int) -> SessionTable:
    """Leaves out items and sessions, or users, with fewer than `k` events until none is left."""
    events = engine.store(sessions.events())
    remaining, before = sessions.totals()[0], None
    while remaining != before:
        for column in ("code", sessions.keys[0]):
            smaller = engine.store(_frequent(events, column, k))
            engine.drop(events)
            events = smaller
        before, remaining = remaining, events.count().to_pyarrow().as_py()
    return _regroup(sessions, events, engine)


def _regroup(sessions: SessionTable, events: ibis.Table, engine: Engine) -> SessionTable:
    struct = ibis.struct({name: events[name] for name in sessions.fields})
    table = events.group_by(sessions.keys).agg(events=struct.collect(), num_events=events.count())
    return replace(sessions, table=engine.store(table.mutate(events=table.events.sort())))
