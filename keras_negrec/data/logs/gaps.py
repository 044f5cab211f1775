"""Sessions that end where a user does nothing for long."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir


def split_at_gaps(
    events: ir.Table, gap: float, keys: Sequence[str], *, session: str, time: str
) -> ir.Table:
    """Starts a new session where the time between two events of equal `keys` is over `gap`.

    The sessions of `s`, a value of the column `session`, are called `s_0`, `s_1` and so on. Events
    at one time stay together.
    """
    before = events[time].lag().over(ibis.window(group_by=keys, order_by=time))
    starts = ibis.ifelse(events[time] - before > gap, 1, 0).cast("int64")
    events = events.mutate(starts=starts)
    # By range and not by row: events at one time belong to the session that one of them starts.
    until_now = ibis.range_window(preceding=None, following=0, group_by=keys, order_by=time)
    index = events.starts.sum().over(until_now).cast("string")
    return events.mutate(session=events[session].cast("string") + "_" + index).drop("starts")


def sessions_by_gap(events: ir.Table, gap: float, ties: Sequence[str]) -> ir.Table:
    """Sessions of users whose events have times and nothing else to tell sessions apart.

    Events at one time are in the order of the columns `ties`. The table gets the columns `session`
    (`<user>_<n>`, n from 0; null for rows with a problem), `position` (in the session, from 0) and
    `seconds_to_next`: the time to the user's next event, null at the last.
    """
    events = events.mutate(fine=events.problem.isnull())
    events = split_at_gaps(events, gap, ["user", "fine"], session="user", time="timestamp")
    in_time = ibis.window(group_by=["user", "fine"], order_by=["timestamp", *ties])
    in_session = ibis.window(group_by=["session", "fine"], order_by=["timestamp", *ties])
    return events.mutate(
        session=ibis.ifelse(events.fine, events.session, None),
        position=ibis.row_number().over(in_session),
        seconds_to_next=events.timestamp.lead().over(in_time) - events.timestamp,
    ).drop("fine")
