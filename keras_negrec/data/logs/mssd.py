"""The Spotify Music Streaming Sessions Dataset."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from keras_negrec.data.logs.columns import add_problems, check_columns, problem_where
from keras_negrec.data.logs.feedback_rule import Rule, to_events
from keras_negrec.data.logs.files import Source, find_files
from keras_negrec.data.logs.read_log import read_scan
from keras_negrec.data.logs.scan_files import scan_table

_HEADER = (
    "session_id,session_position,session_length,track_id_clean,skip_1,skip_2,skip_3,"
    "not_skipped,context_switch,no_pause_before_play,short_pause_before_play,"
    "long_pause_before_play,hist_user_behavior_n_seekfwd,hist_user_behavior_n_seekback,"
    "hist_user_behavior_is_shuffle,hour_of_day,date,premium,context_type,"
    "hist_user_behavior_reason_start,hist_user_behavior_reason_end"
)
COLUMNS = tuple(_HEADER.split(","))


def _feedback(log: ir.Table, *skipped: ir.Value) -> ir.Value:
    """-1 where any of these is true, else +1 where the track is known to have been heard."""
    heard = log.not_skipped | log.skip_3 | log.skip_2
    return ibis.cases((ibis.or_(*skipped), -1), (heard, 1), else_=0)


FEEDBACK = {
    "skip_1": lambda log: _feedback(log, log.skip_1),
    "skip_2": lambda log: _feedback(log, log.skip_1, log.skip_2),
    "skip_3": lambda log: _feedback(log, log.skip_1, log.skip_2, log.skip_3),
}


def read_mssd(
    path: Source, *, feedback: str | Rule = "skip_2", errors: str = "raise"
) -> pd.DataFrame:
    """Reads the Spotify Music Streaming Sessions Dataset into memory.

    A session in two files, or with a `session_length` that is not the number of its rows,
    contradicts itself.

    Args:
        path: a file `log_*.csv` or `log_*.csv.gz` with the 21 published columns, a list of them,
            or a folder that holds them.
        feedback: which skips count. `"skip_1"` (played very briefly), `"skip_2"` (played briefly;
            includes the first) or `"skip_3"` (most of it played; includes both): a track skipped
            that early is -1, any other one that was skipped later or not at all +1, and one of
            which none of the four columns is true 0. Or a rule of your own, as in `read_frame`, on
            the published columns: positions are integers, the skips and `not_skipped` booleans;
            all else is text.
        errors: `"raise"` or `"skip"`, as in `read_log`, which says what is raised.

    Returns:
        An events table with the columns `session`, `item`, `feedback` and `position` (from 1), in
        the order of the files.

    Example:

    >>> import tempfile, pathlib
    >>> from keras_negrec.data.logs.mssd import COLUMNS
    >>> log = pd.DataFrame([["s", 1, 2, "t_a"], ["s", 2, 2, "t_b"]], columns=COLUMNS[:4])
    >>> log = log.reindex(columns=COLUMNS).assign(skip_1=False, skip_2=[True, False])
    >>> log = log.assign(skip_3=True, not_skipped=False)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "log_0.csv")
    >>> log.to_csv(path, index=False)
    >>> keras_negrec.data.read_mssd(path)
      session item  feedback  position
    0       s  t_a        -1         1
    1       s  t_b         1         2

    Reference:
        [Brost et al., 2019](https://arxiv.org/abs/1901.09851)
    """
    return read_scan(scan_mssd, **locals())


def scan_mssd(
    path: Source,
    connection: ibis.BaseBackend,
    *,
    feedback: str | Rule = "skip_2",
    number_rows: bool = False,
) -> ir.Table:
    """The events of `read_mssd` as a lazy table. What spans rows is not checked here."""
    files = find_files(path, "log_*.csv", "log_*.csv.gz")
    log = scan_table(files, connection, COLUMNS, number_rows=number_rows)
    kinds = {"session_id": "id", "session_length": "integer", "session_position": "integer"}
    kinds |= {"track_id_clean": "id"}
    kinds |= dict.fromkeys(("skip_1", "skip_2", "skip_3", "not_skipped"), "boolean")
    log = check_columns(log, kinds, files[0])
    position, expected = log.session_position, "expected a number from 1 to `session_length`"
    outside = ~position.between(1, log.session_length)
    log = add_problems(log, problem_where(outside, "session_position", expected, position))
    roles = {"session": "session_id", "item": "track_id_clean", "position": "session_position"}
    return to_events(log, roles | {"session_length": "session_length"}, feedback, FEEDBACK)
