"""The reader of Yambda."""

from __future__ import annotations

import functools

import pandas as pd

from keras_negrec.data.logs.feedback_rule import Rule
from keras_negrec.data.logs.files import Source
from keras_negrec.data.logs.read_scan import read_scan
from keras_negrec.data.logs.yambda import scan_yambda


def read_yambda(
    path: Source,
    *,
    feedback: str | Rule = "played_ratio",
    positive_from: float = 50,
    session_gap: float = 20 * 60,
    errors: str = "raise",
) -> pd.DataFrame:
    """Reads Yambda, the listens, likes and dislikes of Yandex Music, into memory.

    Args:
        path: `multi_event.parquet`, one of `listens.parquet`, `likes.parquet`, `unlikes.parquet`,
            `dislikes.parquet` and `undislikes.parquet`, a list of these, or a folder. Of a folder
            that holds it, `multi_event.parquet` alone is read, for it has the events of the others.
        feedback: `"played_ratio"`: a listen is +1 where `played_ratio_pct` is at least
            `positive_from`, else -1; a like is +2 and a dislike -2; an unlike or an undislike is
            0, since it takes back what was said without saying what is thought now.
            Or a function of the raw Ibis table that returns an integer column; its columns are
            those of `keras_negrec.data.logs.yambda.scan_yambda`.
        positive_from: the percentage of the track from which a listen is positive.
        session_gap: the longest time, in seconds, from one event to the next of its session.
        errors: `"raise"`, or `"skip"` to leave out events with a problem, with a warning that
            tells how many and why.

    Returns:
        An events table with the columns `session` (`<user>_<n>`, n from 0), `user`, `item`,
        `feedback`, `position` (from 0 in its session) and `timestamp` (seconds since the start of
        the data), in time order of each user.

    Raises:
        FileNotFoundError: no such file, none in the folder.
        ValueError: a file that cannot be read, a column that is missing; with `errors="raise"`
            a value that is missing, an unknown type of event.
        TypeError: a rule that does not return an integer column.

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
    scan = functools.partial(
        scan_yambda,
        path,
        feedback=feedback,
        positive_from=positive_from,
        session_gap=session_gap,
        number_rows=True,
    )
    order = ["user", "timestamp", "position"]
    return read_scan(scan, path, order_by=order, errors=errors)
