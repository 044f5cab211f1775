"""What is wrong with whole sessions."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir


def session_problems(events: ir.Table) -> ir.Table:
    """The sessions of a scan that contradict themselves.

    Args:
        events: what a scan with the column `position` returned.

    Returns:
        A table with the columns `session`, `file` (one that the session is in) and `problem`:
        two events at one position; and where the scan has the column `session_length`, a length
        that is not the number of rows, and a session in more than one file. Rows with a
        `problem` of their own count for the length, their positions do not count.

    Example:

    >>> import ibis
    >>> plays = pd.DataFrame({"session": ["a", "a", "b"], "item": [7, 8, 7], "nth": [1, 1, 1]})
    >>> events = keras_negrec.data.logs.frame.scan_frame(
    ...     plays, ibis.duckdb.connect(), session="session", item="item", position="nth"
    ... )
    >>> problems = keras_negrec.data.logs.session_problems.session_problems(events)
    >>> problems.to_pandas()["session"].tolist()
    ['a']
    """
    events = events.filter(events.session.notnull())
    fine = events.problem.isnull()
    aggregates = {
        "file": events.file.min(),
        "last_file": events.file.max(),
        "rows": events.count(),
        "placed": events.count(where=fine),
        "places": events.position.nunique(where=fine),
    }
    has_length = "session_length" in events.columns
    if has_length:
        aggregates["shortest"] = events.session_length.min()
        aggregates["longest"] = events.session_length.max()
    sessions = events.group_by("session").aggregate(**aggregates)
    problems = []
    if has_length:
        problems.append(
            (
                sessions.file != sessions.last_file,
                "expected a session to be in one file. Received: "
                + sessions.file
                + " and "
                + sessions.last_file,
            )
        )
        wrong = (sessions.shortest != sessions.rows) | (sessions.longest != sessions.rows)
        problems.append(
            (
                wrong,
                "column `session_length`: expected the number of the session's rows. Received: "
                + ibis.ifelse(
                    sessions.shortest != sessions.rows, sessions.shortest, sessions.longest
                ).cast("string")
                + " for "
                + sessions.rows.cast("string"),
            )
        )
    problems.append(
        (
            sessions.places != sessions.placed,
            "column `position`: expected one event at each position of a session. Received: "
            + sessions.places.cast("string")
            + " positions for "
            + sessions.placed.cast("string")
            + " events",
        )
    )
    sessions = sessions.mutate(problem=ibis.cases(*problems))
    return sessions.filter(sessions.problem.notnull()).select("session", "file", "problem")
