"""The reader of files with one user's items a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from keras_negrec.data.logs.check_events import check_events
from keras_negrec.data.logs.table_columns import text_to_ids
from keras_negrec.data.logs.table_files import existing_file, read_text


def read_sequences(path: str | Path) -> pd.DataFrame:
    """Reads lines of `user item item ...`, each user's items in time order.

    It is the layout of the benchmark files of SASRec, S3-Rec and many papers after them. They hold
    no feedback: every event is +1.

    Args:
        path: the file; white space of any kind stands between ids. It may be packed (`.gz`).

    Returns:
        An events table with the columns `session` (the user), `item`, `feedback` and
        `position`, from 0 in each session. Users are integers if all of them are, else strings;
        so are items.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an empty file, a blank line, a user without items or on two lines.

    Example:

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "LastFM.txt")
    >>> _ = path.write_text("1 10 20\\n2 20\\n")
    >>> keras_negrec.data.read_sequences(path)
       session  item  feedback  position
    0        1    10         1         0
    1        1    20         1         1
    2        2    20         1         0

    Reference:
        [Zhou et al., 2020](https://arxiv.org/abs/2008.07873)
    """
    path = existing_file(path)
    rows = [line.split() for line in read_text(path).decode().rstrip().split("\n")]
    first_line: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        if len(row) < 2:
            received = f"user {row[0]!r} without items" if row else "a blank line"
            raise ValueError(
                f"In {path}, line {number}: expected a user and at least one item. "
                f"Received {received}."
            )
        if row[0] in first_line:
            raise ValueError(
                f"In {path}, line {number}: expected each user on one line. Received user "
                f"{row[0]!r}, who is on line {first_line[row[0]]} too."
            )
        first_line[row[0]] = number
    lengths = [len(row) - 1 for row in rows]
    users = text_to_ids(pd.Series([row[0] for row in rows], name="session"), path)
    events = pd.DataFrame(
        {
            "session": users.repeat(lengths).array,
            "item": text_to_ids(
                pd.Series([item for row in rows for item in row[1:]], name="item"), path
            ),
            "feedback": np.ones(sum(lengths), "int8"),
            "position": np.concatenate([np.arange(length) for length in lengths]),
        }
    )
    check_events(events, source=str(path))
    return events
