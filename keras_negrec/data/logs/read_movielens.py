"""The reader of the MovieLens rating files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from keras_negrec.data.logs.check_events import check_events
from keras_negrec.data.logs.movielens_layouts import RATINGS_CSV, RECBOLE, layout_of
from keras_negrec.data.logs.table_columns import (
    pick_column,
    text_to_ids,
    text_to_integers,
    text_to_numbers,
)
from keras_negrec.data.logs.table_files import existing_file, read_delimited, read_text


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
    layout = layout_of(path, header)
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
        quoted=layout is RATINGS_CSV,
    )
    if layout is RECBOLE:
        table.columns = [name.split(":")[0] for name in table.columns]  # `user_id:token`
    user, item, rating, timestamp = (pick_column(table, name, path) for name in layout.columns)
    to_ids = text_to_ids if layout is RECBOLE else text_to_integers
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
