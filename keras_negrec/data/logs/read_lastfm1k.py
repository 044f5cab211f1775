"""The reader of Last.fm-1K."""

from __future__ import annotations

import functools

import pandas as pd

from keras_negrec.data.logs.feedback_rule import Rule
from keras_negrec.data.logs.files import Source
from keras_negrec.data.logs.lastfm1k import scan_lastfm1k
from keras_negrec.data.logs.read_scan import read_scan


def read_lastfm1k(
    path: Source,
    *,
    feedback: str | Rule = "gap",
    skip_seconds: float = 30,
    session_gap: float = 20 * 60,
    errors: str = "raise",
) -> pd.DataFrame:
    """Reads Last.fm-1K, the listening histories of 992 users, into memory.

    The log tells neither sessions nor skips; both follow from the times between plays.

    Args:
        path: `userid-timestamp-artid-artname-traid-traname.tsv`, packed (`.gz`) or not, or the
            folder that holds it.
        feedback: `"gap"`: -1 where the user's next play follows in under `skip_seconds`, else +1.
            Or a function of the raw Ibis table that returns an integer column; its columns are
            those of `keras_negrec.data.logs.lastfm1k.scan_lastfm1k`.
        skip_seconds: how soon the next play comes after one that was skipped.
        session_gap: the longest time, in seconds, from one play to the next of its session.
        errors: `"raise"`, or `"skip"` to leave out plays with a problem, with a warning that tells
            how many and why.

    Returns:
        An events table with the columns `session` (`<user>_<n>`, n from 0), `user`, `item` (the
        track's MusicBrainz id, or `<artist>\\t<track>` where it has none), `feedback`, `position`
        (from 0 in its session) and `timestamp` (seconds since 1970), in time order of each user.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that cannot be read; with `errors="raise"` a value that cannot be
            understood, a wrong number of fields, a play that is there twice.
        TypeError: a rule that does not return an integer column.

    Example:

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "plays.tsv")
    >>> _ = path.write_text(
    ...     "ann\\t2009-05-04T23:30:00Z\\t\\tNico\\t\\tAfraid\\n"
    ...     "ann\\t2009-05-04T23:00:10Z\\t\\tCan\\t\\tSing Swan Song\\n"
    ...     "ann\\t2009-05-04T23:00:00Z\\t\\tCan\\t\\tVitamin C\\n"
    ... )
    >>> events = keras_negrec.data.read_lastfm1k(path)
    >>> events[["session", "item", "feedback", "position"]]
      session                 item  feedback  position
    0   ann_0       Can\\tVitamin C        -1         0
    1   ann_0  Can\\tSing Swan Song         1         1
    2   ann_1         Nico\\tAfraid         1         0

    Reference:
        [Celma, 2010](http://ocelma.net/MusicRecommendationDataset/lastfm-1K.html)
    """
    scan = functools.partial(
        scan_lastfm1k,
        path,
        feedback=feedback,
        skip_seconds=skip_seconds,
        session_gap=session_gap,
        number_rows=True,
    )
    order = ["user", "timestamp", "position"]
    return read_scan(scan, path, order_by=order, errors=errors)
