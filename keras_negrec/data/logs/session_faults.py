"""What is wrong with whole sessions."""

from __future__ import annotations

from collections.abc import Sequence

import ibis

from keras_negrec.data.logs.event_table import EventTable


def is_bound_to_file(columns: Sequence[str], log: EventTable) -> bool:
    """Whether a session in two files is two sessions of one name, or one file given twice.

    It is where sessions say how long they are, and where only the place in the file orders them.
    """
    return "file" in columns and ("session_length" in columns or log.ordered_by == "row")


def session_fault(sessions: ibis.Table, log: EventTable) -> ibis.ir.StringValue:
    """How a session contradicts itself, NULL where it does not.

    The table has one row a session, with `num_read` (its events), `num_distinct` (those that differ
    in order or item) and, for what is to be looked at, `num_orders` (those that differ in order),
    `file` and `other_file`, `user` and `other_user` (the least and the greatest), `session_length`
    and `num_faulty` (its rows that had a problem).
    """
    faults = []
    if is_bound_to_file(sessions.columns, log):
        faults.append((sessions.file != sessions.other_file, "sessions in several files"))
    if "other_user" in sessions.columns:
        faults.append((sessions.user != sessions.other_user, "sessions of several users"))
    if "num_orders" in sessions.columns:
        twice = sessions.num_orders != sessions.num_distinct
        faults.append((twice, "sessions with two items at one position"))
    if "session_length" in sessions.columns:
        # Rows with a problem, which are not here, are rows of their session all the same.
        sound_rows = sessions.session_length - sessions.num_faulty.fill_null(0)
        wrong = (sound_rows != sessions.num_read) & (sound_rows != sessions.num_distinct)
        faults.append((wrong, "sessions with another number of rows than they say"))
    null = ibis.null("string")
    return ibis.coalesce(null, *(ibis.ifelse(wrong, name, null) for wrong, name in faults))


def add_num_faulty(sessions: ibis.Table, log: EventTable) -> ibis.Table:
    """Adds `num_faulty`, the rows of each session that had a problem."""
    known = log.faulty.filter(log.faulty.session.notnull())
    known = known.group_by("session").agg(num_faulty=known.count())
    return sessions.left_join(known, "session").drop("session_right")


def find_faults(
    sessions: ibis.Table, log: EventTable, keys: Sequence[str], duplicates: str, errors: str
) -> tuple[int, list[dict]]:
    """How many events are duplicates, and how many `sessions` and `events` have which `fault`.

    The table is that of `session_fault`, with `fault`. It raises on the first of either where
    `duplicates` and `errors` say so.
    """
    twice = sessions.num_read - sessions.num_distinct
    num_events = sessions.num_distinct if duplicates == "drop" else sessions.num_read
    by_fault = sessions.group_by("fault").agg(
        events=num_events.sum(), sessions=sessions.count(), duplicates=twice.sum()
    )
    counts = by_fault.to_pyarrow().to_pylist()
    num_duplicates = int(sum(row["duplicates"] for row in counts))
    if num_duplicates and duplicates == "raise":
        first = sessions.filter(twice > 0).order_by(keys).limit(1).select("session")
        [row] = first.to_pyarrow().to_pylist()
        raise ValueError(
            f"{num_duplicates} events are duplicates: one item twice at one {log.ordered_by} of "
            f"one session, first in session {row['session']!r}. "
            'Received: duplicates="raise"; "drop" keeps one of each.'
        )
    found = [row | {"events": int(row["events"])} for row in counts if row["fault"] is not None]
    found.sort(key=lambda row: row["fault"])
    if found and errors == "raise":
        fault = found[0]["fault"]
        bad = sessions.filter(sessions.fault == fault).order_by(keys).limit(1)
        told = ("session", "other_file", "user", "other_user", "session_length", "num_read")
        [row] = bad.select(*(name for name in told if name in bad.columns)).to_pyarrow().to_pylist()
        session = row.pop("session")
        file = log.table.filter(log.table.session == session).file.min().to_pyarrow().as_py()
        others = ", ".join(f"{name}={value!r}" for name, value in row.items())
        raise ValueError(
            f"In {file}, session {session!r}: there are {found[0]['sessions']} {fault}, of which "
            f'this is the first. Received: {others or fault}. errors="skip" counts such sessions '
            "and leaves them out."
        )
    return num_duplicates, found
