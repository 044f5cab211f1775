"""KuaiRand, the log of a short-video app."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from keras_negrec.data.logs.checked_columns import check_columns, problem_where, to_integers
from keras_negrec.data.logs.feedback_rule import Rule, add_feedback
from keras_negrec.data.logs.files import Source, find_files, parquet_columns, require_columns
from keras_negrec.data.logs.scan_files import scan_parquet
from keras_negrec.data.logs.scan_table import scan_table
from keras_negrec.data.logs.sessions_by_gap import sessions_by_gap

COLUMNS = (
    "user_id",
    "video_id",
    "date",
    "hourmin",
    "time_ms",
    "is_click",
    "is_like",
    "is_follow",
    "is_comment",
    "is_forward",
    "is_hate",
    "long_view",
    "play_time_ms",
    "duration_ms",
    "profile_stay_time",
    "comment_stay_time",
    "is_profile_enter",
    "is_rand",
    "tab",
)


def _long_view(log: ir.Table) -> ir.Value:
    return ibis.cases(
        (log.is_hate == 1, -2), (log.is_like == 1, 2), (log.long_view == 1, 1), else_=-1
    )


FEEDBACK = {"long_view": _long_view}


def scan_kuairand(
    path: Source,
    connection: ibis.BaseBackend,
    *,
    feedback: str | Rule = "long_view",
    session_gap: float | None = None,
    number_rows: bool = False,
) -> ir.Table:
    """The events of KuaiRand, from the published logs or from a labelled Parquet.

    Args:
        path: a log `log_*.csv` with the 19 published columns, packed (`.csv.gz`) or not, a list of
            logs, or a folder of them, whose subsets (standard, random) are then read together; or
            one Parquet file with the columns `user_id`, `item_id`, `position`, `split`,
            `long_view`, `is_like` and `is_hate`, the last two missing where they are not known.
        connection: an Ibis connection to DuckDB or PySpark.
        feedback: `"long_view"`: a hated video is -2 even if it was liked, a liked one +2, any other
            one +1 where it was watched (`long_view` 1) and -1 where it was not. Or a function of
            the raw table, with the file's columns, that returns an integer column. Of a log's,
            the ids, `time_ms`, `play_time_ms` and `duration_ms` (null where they are no whole
            numbers), `long_view`, `is_like`, `is_hate` and `is_click` are integers; all else is
            text.
        session_gap: the longest time, in seconds, from one video to the next of its session. By
            default a session is all that a user watched. Only for logs, which have times.
        number_rows: adds `row`, the line of each event in its file. DuckDB only; a Parquet's `row`
            is always there on DuckDB.

    Returns:
        A table with the columns `session` (the user's id, or `<user>_<n>` with `session_gap`),
        `item` (int64), `feedback` (int8), `file` and `problem`; from a log `user` and
        `timestamp` (float64, seconds since 1970), and with `session_gap` `position`; from a
        Parquet `position` and `split`.

    Raises:
        FileNotFoundError: no such file, no logs in the folder.
        ValueError: a column that is missing, a file that cannot be unpacked, `session_gap` with a
            Parquet file, an unknown rule.
        TypeError: a rule that does not return an integer column.

    Reference:
        [Gao et al., 2022](https://arxiv.org/abs/2208.08696)
    """
    files = find_files(path, "log_*.csv", "log_*.csv.gz")
    if files[0].endswith(".parquet"):
        if session_gap is not None or len(files) > 1:
            raise ValueError(
                "A labelled Parquet file of KuaiRand has no times and is read alone. "
                f"Received: session_gap={session_gap}, path={path}"
            )
        return _scan_labelled(files[0], connection, feedback)
    log = scan_table(files, connection, COLUMNS, number_rows=number_rows)
    kinds = {"user_id": "integer", "video_id": "integer", "time_ms": "integer"}
    labels = ("long_view", "is_like", "is_hate", "is_click")
    log = check_columns(log, kinds | dict.fromkeys(labels, "label"), files[0])
    log = log.mutate(
        user=log.user_id,
        item=log.video_id,
        timestamp=log.time_ms / 1000,
        play_time_ms=to_integers(log.play_time_ms),
        duration_ms=to_integers(log.duration_ms),
    )
    columns = ["session", "user", "item", "feedback", "timestamp", "file", "problem"]
    if session_gap is None:
        log = log.mutate(session=log.user)
    else:
        log = sessions_by_gap(log, session_gap, ["item"])
        columns.append("position")
    return add_feedback(log, feedback, FEEDBACK).select(columns + ["row"] * number_rows)


def _scan_labelled(file: str, connection: ibis.BaseBackend, feedback: str | Rule) -> ir.Table:
    labels = {"long_view": "label", "is_like": "optional label", "is_hate": "optional label"}
    if feedback != "long_view":
        labels = {}
    ids = {"user_id": "id", "item_id": "id", "position": "integer"}
    columns = parquet_columns(file)
    require_columns(columns, [*ids, "split", *labels], file)
    log = scan_parquet(file, connection).mutate(problem=ibis.null("string"))
    log = check_columns(log.mutate(split=log.split.cast("string")), ids | labels, file)
    log = log.mutate(
        session=log.user_id,
        item=log.item_id,
        problem=ibis.coalesce(
            log.problem, problem_where(log.split.isnull(), "split", "expected a value", log.split)
        ),
    )
    names = ["session", "item", "feedback", "position", "split", "file", "problem"]
    return add_feedback(log, feedback, FEEDBACK).select(names + ["row"] * ("row" in log.columns))
