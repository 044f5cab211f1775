"""The Spotify Music Streaming Sessions Dataset."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from keras_negrec.data.logs.checked_columns import check_columns, problem_where
from keras_negrec.data.logs.feedback_rule import Rule, add_feedback
from keras_negrec.data.logs.files import Source, find_files
from keras_negrec.data.logs.scan_table import scan_table

COLUMNS = (
    "session_id",
    "session_position",
    "session_length",
    "track_id_clean",
    "skip_1",
    "skip_2",
    "skip_3",
    "not_skipped",
    "context_switch",
    "no_pause_before_play",
    "short_pause_before_play",
    "long_pause_before_play",
    "hist_user_behavior_n_seekfwd",
    "hist_user_behavior_n_seekback",
    "hist_user_behavior_is_shuffle",
    "hour_of_day",
    "date",
    "premium",
    "context_type",
    "hist_user_behavior_reason_start",
    "hist_user_behavior_reason_end",
)


def _skipped(*columns: str) -> Rule:
    """-1 where any of the columns is true, else +1 where the track is known to have been heard."""

    def rule(log: ir.Table) -> ir.Value:
        return ibis.cases(
            (ibis.or_(*(log[column] for column in columns)), -1),
            (log.not_skipped | log.skip_3 | log.skip_2, 1),
            else_=0,
        )

    return rule


FEEDBACK = {
    "skip_1": _skipped("skip_1"),
    "skip_2": _skipped("skip_1", "skip_2"),
    "skip_3": _skipped("skip_1", "skip_2", "skip_3"),
}


def scan_mssd(
    path: Source,
    connection: ibis.BaseBackend,
    *,
    feedback: str | Rule = "skip_2",
    number_rows: bool = False,
) -> ir.Table:
    """The events of the Spotify Music Streaming Sessions Dataset.

    Args:
        path: a file `log_*.csv` or `log_*.csv.gz` with the 21 published columns, a list of them,
            or a folder that holds them.
        connection: an Ibis connection to DuckDB or PySpark.
        feedback: which skips count. `"skip_1"` (played very briefly), `"skip_2"` (played briefly;
            the default, includes the first) or `"skip_3"` (most of it played; includes both):
            a track skipped that early is -1, any other one that was skipped later or not at all +1,
            and one of which none of the four columns is true 0. Or a function of the raw table,
            whose columns are the published ones, that returns an integer column. In it
            positions are integers, the skips and `not_skipped` booleans; all else is text.
        number_rows: adds `row`, the line of each event in its file. DuckDB only.

    Returns:
        A table with the columns `session`, `item` (strings), `feedback` (int8), `position` and
        `session_length` (int64), `file` and `problem`. What spans the rows of a session is
        checked by `session_problems`.

    Raises:
        FileNotFoundError: no such file, no such files in the folder.
        ValueError: a column that is missing, headers that differ, a file that cannot be unpacked,
            an unknown rule.
        TypeError: a rule that does not return an integer column.

    Reference:
        [Brost et al., 2019](https://arxiv.org/abs/1901.09851)
    """
    files = find_files(path, "log_*.csv", "log_*.csv.gz")
    log = scan_table(files, connection, COLUMNS, number_rows=number_rows)
    log = check_columns(
        log,
        {
            "session_id": "id",
            "session_length": "integer",
            "session_position": "integer",
            "track_id_clean": "id",
            "skip_1": "boolean",
            "skip_2": "boolean",
            "skip_3": "boolean",
            "not_skipped": "boolean",
        },
        files[0],
    )
    outside = ~log.session_position.between(1, log.session_length)
    log = log.mutate(
        problem=ibis.coalesce(
            log.problem,
            problem_where(
                outside,
                "session_position",
                "expected a number from 1 to `session_length`",
                log.session_position,
            ),
        )
    )
    return add_feedback(log, feedback, FEEDBACK).select(
        ibis._.session_id.name("session"),
        ibis._.track_id_clean.name("item"),
        "feedback",
        ibis._.session_position.name("position"),
        "session_length",
        "file",
        "problem",
        *(["row"] if number_rows else []),
    )
