"""Yambda, the listens, likes and dislikes of Yandex Music."""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd

from keras_negrec.data.logs.columns import add_problems, check_columns, problem_where
from keras_negrec.data.logs.feedback_rule import Rule, to_events
from keras_negrec.data.logs.files import Source, find_files, parquet_columns, require_columns
from keras_negrec.data.logs.gaps import sessions_by_gap
from keras_negrec.data.logs.read_log import read_scan
from keras_negrec.data.logs.scan_files import scan_parquet

_EVENTS = ("listen", "like", "unlike", "dislike", "undislike")
_ALL_EVENTS = "multi_event.parquet"
_SECONDS = 5  # The unit of the published timestamps.


def read_yambda(
    path: Source,
    *,
    feedback: str | Rule = "played_ratio",
    positive_from: float = 50,
    session_gap: float = 20 * 60,
    errors: str = "raise",
) -> pd.DataFrame:
    """Reads Yambda, the listens, likes and dislikes of Yandex Music, into memory.

    Every reaction is an event of its own, apart from the listen that it is about.

    Args:
        path: `multi_event.parquet`; `listens.parquet`, `likes.parquet`, `unlikes.parquet`,
            `dislikes.parquet` or `undislikes.parquet`; a list of these; or a folder, of which
            `multi_event.parquet` alone is read where it is there.
        feedback: `"played_ratio"`: a listen is +1 where `played_ratio_pct` is at least
            `positive_from`, else -1; a like is +2 and a dislike -2; an unlike or an undislike is
            0, since it takes back what was said without saying what is thought now. Or a rule of
            your own, as in `read_frame`, on the published columns (`played_ratio_pct` and
            `track_length_seconds` are null but for listens), `event_type`, `user`, `item`,
            `timestamp`, `session`, `position` and `seconds_to_next` (null at a user's last event).
        positive_from: the percentage of the track from which a listen is positive.
        session_gap: the longest time, in seconds, from one event to the next of its session.
        errors: `"raise"` or `"skip"`, as in `read_log`, which says what is raised.

    Returns:
        An events table with the columns `session` (`<user>_<n>`, n from 0), `user`, `item`,
        `feedback`, `position` (from 0 in its session) and `timestamp` (seconds since the start of
        the data: the published one times 5), in time order of each user.

    Example:

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "multi_event.parquet")
    >>> pd.DataFrame({
    ...     "uid": 7, "timestamp": [0, 20, 21, 900], "item_id": [3, 4, 4, 3], "is_organic": 1,
    ...     "played_ratio_pct": [10, 100, None, 80], "track_length_seconds": [200, 200, None, 200],
    ...     "event_type": ["listen", "listen", "like", "listen"],
    ... }).to_parquet(path)
    >>> keras_negrec.data.read_yambda(path)
      session  user  item  feedback  position  timestamp
    0     7_0     7     3        -1         0          0
    1     7_0     7     4         1         1        100
    2     7_0     7     4         2         2        105
    3     7_1     7     3         1         0       4500

    Reference:
        [Ploshkin et al., 2025](https://arxiv.org/abs/2505.22238)
    """
    return read_scan(scan_yambda, **locals())


def scan_yambda(
    path: Source,
    connection: ibis.BaseBackend,
    *,
    feedback: str | Rule = "played_ratio",
    positive_from: float = 50,
    session_gap: float = 20 * 60,
    number_rows: bool = False,
) -> ir.Table:
    """The events of `read_yambda` as a lazy table."""
    if isinstance(path, (str, Path)) and (Path(path) / _ALL_EVENTS).is_file():
        path = Path(path) / _ALL_EVENTS
    files = find_files(path, *(f"{event}s.parquet" for event in _EVENTS))
    events = ibis.union(*(_scan_file(file, connection, number_rows) for file in files))
    places = ((event, place) for place, event in enumerate(_EVENTS))
    events = events.mutate(place=events.event_type.cases(*places, else_=len(_EVENTS)))
    # Events at one time: an order that is the same in each run.
    events = sessions_by_gap(events, session_gap, ["item", "place", "played_ratio_pct"])
    rules = {
        "played_ratio": lambda events: ibis.cases(
            (events.event_type == "like", 2),
            (events.event_type == "dislike", -2),
            (events.event_type != "listen", 0),
            (events.played_ratio_pct >= positive_from, 1),
            else_=-1,
        )
    }
    roles = ["session", "user", "item", "position", "timestamp", "seconds_to_next"]
    return to_events(events, roles, feedback, rules)


def _scan_file(file: str, connection: ibis.BaseBackend, number_rows: bool) -> ir.Table:
    columns = parquet_columns(file)
    event = Path(file).stem.removesuffix("s")
    if "event_type" not in columns and event not in _EVENTS:
        raise ValueError(
            f"In {file}: expected the column `event_type`, or one of "
            f"{[f'{event}s.parquet' for event in _EVENTS]}. Received columns: {columns}"
        )
    required = ["uid", "timestamp", "item_id"]
    required += ["played_ratio_pct"] * ("event_type" in columns or event == "listen")
    require_columns(columns, required, file)
    events = scan_parquet(file, connection, number_rows=number_rows)
    kinds = dict.fromkeys(("uid", "item_id", "timestamp"), "integer")
    events = check_columns(events, kinds, file)
    seen = {"event_type": ibis.literal(event)}
    if "event_type" in columns:
        seen["event_type"] = events.event_type.cast("string")
    for name in ("is_organic", "played_ratio_pct", "track_length_seconds"):
        seen[name] = events[name].cast("int64") if name in columns else ibis.null("int64")
    time = events.timestamp * _SECONDS
    events = events.mutate(**seen, user=events.uid, item=events.item_id, timestamp=time)
    event_type, played = events.event_type, events.played_ratio_pct
    known = ibis.coalesce(event_type.isin(_EVENTS), False)
    no_ratio = (event_type == "listen") & played.isnull()
    events = add_problems(
        events,
        problem_where(~known, "event_type", f"expected one of {', '.join(_EVENTS)}", event_type),
        problem_where(no_ratio, "played_ratio_pct", "expected a number", played),
    )
    names = ["uid", "item_id", *seen, "user", "item", "timestamp", "file", "problem"]
    return events.select(names + ["row"] * ("row" in events.columns))
