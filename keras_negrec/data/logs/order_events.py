"""A table of events in memory, brought into the order of sessions."""

from __future__ import annotations

import numpy as np
import pandas as pd


def order_events(
    events: pd.DataFrame,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """How the events of a table make rows: one a session, or one a user where there is `user`.

    Returns:
        The order of the events, the row splits, the key of each row, and the session of each
        event inside its row, or None where a row is a session.
    """
    has_user = "user" in events
    rows, keys = pd.factorize(events["user" if has_user else "session"], sort=True)
    table_order = np.arange(len(events))
    in_session = next(
        (events[c].to_numpy() for c in ("position", "timestamp") if c in events), table_order
    )
    lengths = np.bincount(rows, minlength=len(keys))
    splits = np.concatenate([[0], np.cumsum(lengths)]).astype("int64")
    if not has_user:
        return np.lexsort([in_session, rows]), splits, np.asarray(keys), None
    session, _ = pd.factorize(events["session"])
    when = events["timestamp"].to_numpy() if "timestamp" in events else table_order
    frame = pd.DataFrame({"row": rows, "session": session, "when": when})
    start = frame.groupby(["row", "session"])["when"].transform("min").to_numpy()
    order = np.lexsort([in_session, session, start, rows])
    session = session[order]
    new_session = np.append(0, np.cumsum(session[1:] != session[:-1]))
    session_ids = new_session - np.repeat(new_session[splits[:-1]], lengths)
    return order, splits, np.asarray(keys), session_ids
