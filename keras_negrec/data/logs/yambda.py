"""Yambda, the listens, likes and dislikes of Yandex Music."""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir

from keras_negrec.data.logs.checked_columns import check_columns, problem_where
from keras_negrec.data.logs.feedback_rule import Rule, add_feedback
from keras_negrec.data.logs.files import Source, find_files, parquet_columns, require_columns
from keras_negrec.data.logs.scan_files import scan_parquet
from keras_negrec.data.logs.sessions_by_gap import sessions_by_gap

_EVENTS = ("listen", "like", "unlike", "dislike", "undislike")
_ALL_EVENTS = "multi_event.parquet"
_SECONDS = 5  # The unit of the published timestamps.


def scan_yambda(
    path: Source,
    connection: ibis.BaseBackend,
    *,
    feedback: str | Rule = "played_ratio",
    positive_from: float = 50,
    session_gap: float = 20 * 60,
    number_rows: bool = False,
) -> ir.Table:
    """The events of Yambda, with sessions from the times between a user's events.

    Every reaction is an event of its own, apart from the listen that it is about.

    Args:
        path: `multi_event.parquet`, one of `listens.parquet`, `likes.parquet`, `unlikes.parquet`,
            `dislikes.parquet` and `undislikes.parquet`, a list of these, or a folder. Of a folder
            that holds it, `multi_event.parquet` alone is read, for it has the events of the others.
        connection: an Ibis connection to DuckDB or PySpark.
        feedback: `"played_ratio"`: a listen is +1 where `played_ratio_pct` is at least
            `positive_from`, else -1; a like is +2 and a dislike -2; an unlike or an undislike is
            0, since it takes back what was said without saying what is thought now.
            Or a function of the raw table that returns an integer column. Its columns are
            the published ones (`played_ratio_pct` and `track_length_seconds` are null but for
            listens), `event_type`, `user`, `item`, `timestamp`, `session`, `position` and
            `seconds_to_next` (null at a user's last event).
        positive_from: the percentage of the track from which a listen is positive.
        session_gap: the longest time, in seconds, from one event to the next of its session.
        number_rows: has no effect: `row` is always there on DuckDB, and never on Spark.

    Returns:
        A table with the columns `session` (`<user>_<n>`, n from 0), `user` and `item` (int64),
        `feedback` (int8), `position` (from 0 in its session), `timestamp` (seconds since the
        start of the data: the published one times 5), `file`, `problem` and, on DuckDB, `row`.

    Raises:
        FileNotFoundError: no such file, none in the folder.
        ValueError: a file that is no Parquet, a column that is missing, a file without
            `event_type` whose name does not tell it, an unknown rule.
        TypeError: a rule that does not return an integer column.

    Reference:
        [Ploshkin et al., 2025](https://arxiv.org/abs/2505.22238)
    """
    if isinstance(path, (str, Path)) and (Path(path) / _ALL_EVENTS).is_file():
        path = Path(path) / _ALL_EVENTS
    files = find_files(path, *(f"{event}s.parquet" for event in _EVENTS))
    events = ibis.union(*(_scan_file(file, connection) for file in files))
    # Events at one time: an order that is the same in each run.
    ties = ["item", "event_order", "played_ratio_pct"]
    events = sessions_by_gap(
        events.mutate(
            event_order=events.event_type.cases(
                *((event, i) for i, event in enumerate(_EVENTS)), else_=len(_EVENTS)
            )
        ),
        session_gap,
        ties,
    )
    rules = {
        "played_ratio": lambda events: ibis.cases(
            (events.event_type == "like", 2),
            (events.event_type == "dislike", -2),
            (events.event_type != "listen", 0),
            (events.played_ratio_pct >= positive_from, 1),
            else_=-1,
        )
    }
    columns = ["session", "user", "item", "feedback", "position", "timestamp", "file", "problem"]
    columns += ["row"] * ("row" in events.columns)
    return add_feedback(events, feedback, rules).select(columns)


def _scan_file(file: str, connection: ibis.BaseBackend) -> ir.Table:
    columns = parquet_columns(file)
    event = Path(file).stem.removesuffix("s")
    if "event_type" not in columns and event not in _EVENTS:
        raise ValueError(
            f"In {file}: expected the column `event_type`, or one of "
            f"{[f'{event}s.parquet' for event in _EVENTS]}. Received columns: {columns}"
        )
    required = ["uid", "timestamp", "item_id"]
    if "event_type" in columns or event == "listen":
        required.append("played_ratio_pct")
    require_columns(columns, required, file)
    events = scan_parquet(file, connection).mutate(problem=ibis.null("string"))
    if "event_type" not in columns:
        events = events.mutate(event_type=ibis.literal(event))
    for name in ("is_organic", "played_ratio_pct", "track_length_seconds"):
        events = events.mutate(
            {name: events[name].cast("int64") if name in columns else ibis.null("int64")}
        )
    events = check_columns(
        events.mutate(event_type=events.event_type.cast("string")),
        {"uid": "integer", "item_id": "integer", "timestamp": "integer"},
        file,
    )
    is_listen = events.event_type == "listen"
    known = ibis.coalesce(events.event_type.isin(_EVENTS), False)
    played = events.played_ratio_pct
    events = events.mutate(
        user=events.uid,
        item=events.item_id,
        timestamp=events.timestamp * _SECONDS,
        problem=ibis.coalesce(
            events.problem,
            problem_where(
                ~known, "event_type", f"expected one of {', '.join(_EVENTS)}", events.event_type
            ),
            problem_where(
                is_listen & played.isnull(), "played_ratio_pct", "expected a number", played
            ),
        ),
    )
    names = ["uid", "item_id", "is_organic", "played_ratio_pct", "track_length_seconds"]
    names += ["event_type", "user", "item", "timestamp", "file", "problem"]
    return events.select(names + ["row"] * ("row" in events.columns))
