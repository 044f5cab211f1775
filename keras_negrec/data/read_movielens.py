"""The reader of the MovieLens rating files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_negrec.data._table_columns import (
    pick_column,
    text_to_ids,
    text_to_integers,
    text_to_numbers,
)
from keras_negrec.data._table_files import existing_file, read_delimited, read_text
from keras_negrec.data.check_events import check_events


class _Layout(NamedTuple):
    endings: tuple[str, ...]
    first_line: str  # A pattern that tells the layout whatever the file's name is.
    delimiter: str
    columns: tuple[str, str, str, str]  # User, item, rating, time: the publisher's names.
    has_header: bool


_RATINGS_DAT = _Layout(
    (".dat",), r".*::", "::", ("UserID", "MovieID", "Rating", "Timestamp"), False
)
_RECBOLE = _Layout(
    (".inter",),
    r"\w+:(token|float)(_seq)?(\t|$)",
    "\t",
    ("user_id", "item_id", "rating", "timestamp"),
    True,
)
_RATINGS_CSV = _Layout(
    (".csv",), r"userId,", ",", ("userId", "movieId", "rating", "timestamp"), True
)
_U_DATA = _Layout(
    (".data", ".base", ".test"),
    r"\d+\t\d+\t\d+\t\d+$",
    "\t",
    ("user id", "item id", "rating", "timestamp"),
    False,
)


def read_movielens(
    path: str | Path, *, positive_from: float = 4, all_positive: bool = False
) -> pd.DataFrame:
    """Reads MovieLens ratings in any layout in which they are published.

    These are `ratings.dat` (1M, 10M), `ratings.csv` (20M and later), `u.data` (100K) and RecBole's
    `*.inter`. The first line tells which one it is, or else the file's ending; each may be packed
    (`.gz`).

    Args:
        path: the file of ratings.
        positive_from: ratings of at least this are +1, those below are -1.
        all_positive: bool. Makes every rating +1, as the papers on next-item recommendation do:
            that a film was rated is then all that counts.

    Returns:
        An events table with the columns `session` (the user), `item`, `feedback` and
        `timestamp` (seconds), in the order of the file. Ids are integers; in an `.inter` file,
        which may hold any text, they are strings where not all are integers.

    Raises:
        FileNotFoundError: no such file.
        ValueError: none of the layouts; a column that is missing; a line with too few or too
            many fields; an id, a rating or a time that is none.

    Example:

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "ratings.dat")
    >>> _ = path.write_text("1::1193::5::978300760\\n1::661::3::978302109\\n")
    >>> keras_negrec.data.read_movielens(path)
       session  item  feedback  timestamp
    0        1  1193         1  978300760
    1        1   661        -1  978302109

    Reference:
        [Harper & Konstan, 2015](https://doi.org/10.1145/2827872)
    """
    path = existing_file(path)
    content = read_text(path)
    header = content.split(b"\n", 1)[0].decode().rstrip("\r")
    layout = _layout_of(path, header)
    if layout.has_header:
        names = None
        text_columns = [name.strip('"') for name in header.split(layout.delimiter)]
    else:
        names = text_columns = list(layout.columns)
    table = read_delimited(
        content,
        path,
        delimiter=layout.delimiter,
        names=names,
        text_columns=text_columns,
        quoted=layout is _RATINGS_CSV,
    )
    if layout is _RECBOLE:
        table.columns = [name.split(":")[0] for name in table.columns]  # `user_id:token`
    user, item, rating, timestamp = (pick_column(table, name, path) for name in layout.columns)
    to_ids = text_to_ids if layout is _RECBOLE else text_to_integers
    ratings = text_to_numbers(rating, path)
    positive = np.ones(len(table), bool) if all_positive else ratings >= positive_from
    events = pd.DataFrame(
        {
            "session": to_ids(user, path),
            "item": to_ids(item, path),
            "feedback": np.where(positive, 1, -1).astype("int8"),
            "timestamp": text_to_numbers(timestamp, path),
        }
    ).reset_index(drop=True)
    check_events(events, source=str(path))
    return events


def _layout_of(path: Path, header: str) -> _Layout:
    layouts = (_RATINGS_DAT, _RECBOLE, _RATINGS_CSV, _U_DATA)
    name = path.name.removesuffix(".gz")
    for layout in layouts:
        if re.match(layout.first_line, header.replace('"', "")):
            return layout
    for layout in layouts:
        if name.endswith(layout.endings):
            return layout
    raise ValueError(
        f"In {path}, line 1: expected the ratings of MovieLens as in `ratings.dat`, `ratings.csv`, "
        f"`u.data` or `*.inter`. Received: {header[:200]!r}"
    )
