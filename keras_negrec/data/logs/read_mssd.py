"""The reader of the Spotify Music Streaming Sessions Dataset."""

from __future__ import annotations

import functools

import pandas as pd

from keras_negrec.data.logs.feedback_rule import Rule
from keras_negrec.data.logs.files import Source
from keras_negrec.data.logs.mssd import scan_mssd
from keras_negrec.data.logs.read_scan import read_scan


def read_mssd(
    path: Source, *, feedback: str | Rule = "skip_2", errors: str = "raise"
) -> pd.DataFrame:
    """Reads the Spotify Music Streaming Sessions Dataset into memory.

    Args:
        path: a file `log_*.csv` or `log_*.csv.gz` with the 21 published columns, a list of them,
            or a folder that holds them.
        feedback: which skips are -1: `"skip_1"` (played very briefly), `"skip_2"` (played briefly),
            which includes the first, or `"skip_3"` (most of it played), which includes both. All
            other tracks are +1, but for those of which neither a skip nor `not_skipped` is true:
            they are 0. Or a function of the raw Ibis table, whose columns are the published ones,
            that returns an integer column.
        errors: `"raise"`, or `"skip"` to leave out rows and sessions with a problem, with a warning
            that tells how many and why.

    Returns:
        An events table with the columns `session`, `item`, `feedback` and `position` (from 1), in
        the order of the files.

    Raises:
        FileNotFoundError: no such file, no such files in the folder.
        ValueError: a column that is missing, a file that cannot be read; with `errors="raise"` a
            value that cannot be understood, a session in two files, with two rows at one
            position, or with a `session_length` that is not the number of its rows.
        TypeError: a rule that does not return an integer column.

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
    >>> keras_negrec.data.read_mssd(path, feedback="skip_3")["feedback"].tolist()
    [-1, -1]

    Reference:
        [Brost et al., 2019](https://arxiv.org/abs/1901.09851)
    """
    scan = functools.partial(scan_mssd, path, feedback=feedback, number_rows=True)
    return read_scan(scan, path, order_by=["file", "row"], errors=errors)
