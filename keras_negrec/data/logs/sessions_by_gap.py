"""Sessions of users whose events have times and nothing else to tell sessions apart."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir


def sessions_by_gap(events: ir.Table, gap: float, ties: Sequence[str]) -> ir.Table:
    """Cuts each user's events where the time between two of them is over `gap`.

    Args:
        events: a table with the columns `user`, `timestamp` and `problem`. Rows with a problem
            belong to no session.
        gap: the longest time inside a session, in the unit of `timestamp`.
        ties: columns that order events at one time.

    Returns:
        The table with `session` (`<user>_<n>`, n from 0), `position` (in the session, from 0), and
        `seconds_to_next`: the time to the user's next event, null at the last.
    """
    events = events.mutate(fine=events.problem.isnull())
    in_time = ibis.window(group_by=["user", "fine"], order_by=["timestamp", *ties])
    time = events.timestamp
    events = events.mutate(
        nth=ibis.row_number().over(in_time),
        seconds_to_next=time.lead().over(in_time) - time,
        # The first event of a user starts a session too.
        starts=ibis.coalesce(time - time.lag().over(in_time) > gap, True),
    )
    until_now = ibis.window(group_by=["user", "fine"], order_by="nth", preceding=None, following=0)
    first = ibis.ifelse(events.starts, events.nth, None).max().over(until_now)
    index = events.starts.cast("int64").sum().over(until_now) - 1
    session = events.user.cast("string") + "_" + index.cast("string")
    return events.mutate(
        session=ibis.ifelse(events.fine, session, None), position=events.nth - first
    ).drop("fine", "nth", "starts")
