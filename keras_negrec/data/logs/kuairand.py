"""KuaiRand, the log of a short-video app."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from keras_negrec.data.logs.columns import add_problems, check_columns, problem_where, to_integers
from keras_negrec.data.logs.feedback_rule import Rule, to_events
from keras_negrec.data.logs.files import Source, find_files, parquet_columns, require_columns
from keras_negrec.data.logs.gaps import sessions_by_gap
from keras_negrec.data.logs.read_log import read_scan
from keras_negrec.data.logs.scan_files import scan_parquet, scan_table

_HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab"
)
COLUMNS = tuple(_HEADER.split(","))


FEEDBACK = {
    "long_view": lambda log: ibis.cases(
        (log.is_hate == 1, -2), (log.is_like == 1, 2), (log.long_view == 1, 1), else_=-1
    )
}


def read_kuairand(
    path: Source,
    *,
    feedback: str | Rule = "long_view",
    session_gap: float | None = None,
    errors: str = "raise",
) -> pd.DataFrame:
    """Reads KuaiRand, the log of a short-video app: published logs or a labelled Parquet.

    Args:
        path: a log `log_*.csv` with the 19 published columns, packed (`.csv.gz`) or not, a list or
            folder of them (standard and random are then read together); or one Parquet file with
            the columns `user_id`, `item_id`, `position`, `split`, `long_view`, `is_like` and
            `is_hate`, the last two missing where they are not known.
        feedback: `"long_view"`: a hated video is -2 even if it was liked, a liked one +2, any other
            one +1 where it was watched (`long_view` 1) and -1 where it was not. Or a rule of
            your own, as in `read_frame`, on the file's columns. Of a log's, ids, times and labels
            are integers (`play_time_ms` and `duration_ms` may be null); all else is text.
        session_gap: the longest time, in seconds, from one video to the next of its session. By
            default a session is all that a user watched. Only for logs: a Parquet has no times.
        errors: `"raise"` or `"skip"`, as in `read_log`, which says what is raised.

    Returns:
        An events table with the columns `session` (the user, or `<user>_<n>` with `session_gap`),
        `item` and `feedback`; of a log `user` and `timestamp` (seconds since 1970), and with
        `session_gap` `position`; of a Parquet `position` and `split` (`history`, `validation` or
        `test`).

    Example:

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "kuairand.parquet")
    >>> pd.DataFrame({
    ...     "user_id": [7, 7], "item_id": [30, 31], "position": [0, 1],
    ...     "split": ["history", "test"], "long_view": [0, 1],
    ...     "is_like": pd.array([None, 1], "Int8"), "is_hate": pd.array([None, 0], "Int8"),
    ... }).to_parquet(path)
    >>> keras_negrec.data.read_kuairand(path)["feedback"].tolist()
    [-1, 2]

    Reference:
        [Gao et al., 2022](https://arxiv.org/abs/2208.08696)
    """
    return read_scan(scan_kuairand, **locals())


def scan_kuairand(
    path: Source,
    connection: ibis.BaseBackend,
    *,
    feedback: str | Rule = "long_view",
    session_gap: float | None = None,
    number_rows: bool = False,
) -> ir.Table:
    """The events of `read_kuairand` as a lazy table."""
    files = find_files(path, "log_*.csv", "log_*.csv.gz")
    if files[0].endswith(".parquet"):
        if session_gap is not None or len(files) > 1:
            raise ValueError(
                "A labelled Parquet file of KuaiRand has no times and is read alone. "
                f"Received: session_gap={session_gap}, path={path}"
            )
        return _scan_labelled(files[0], connection, feedback, number_rows)
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
    roles = ["session", "user", "item", "timestamp"]
    if session_gap is None:
        log = log.mutate(session=log.user)
    else:
        log = sessions_by_gap(log, session_gap, ["item"])
        roles += ["position", "seconds_to_next"]
    return to_events(log, roles, feedback, FEEDBACK)


def _scan_labelled(
    file: str, connection: ibis.BaseBackend, feedback: str | Rule, number_rows: bool
) -> ir.Table:
    labels = {"long_view": "label", "is_like": "optional label", "is_hate": "optional label"}
    if feedback != "long_view":
        labels = {}
    ids = {"user_id": "id", "item_id": "id", "position": "integer"}
    columns = parquet_columns(file)
    require_columns(columns, [*ids, "split", *labels], file)
    log = scan_parquet(file, connection, number_rows=number_rows)
    log = check_columns(log.mutate(split=log.split.cast("string")), ids | labels, file)
    log = add_problems(
        log, problem_where(log.split.isnull(), "split", "expected a value", log.split)
    )
    roles = {"session": "user_id", "item": "item_id", "position": "position", "split": "split"}
    return to_events(log, roles, feedback, FEEDBACK)
