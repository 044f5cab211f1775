"""MovieLens ratings in all layouts in which they are published."""

from __future__ import annotations

import re
from typing import NamedTuple

import ibis
import ibis.expr.types as ir
import pandas as pd

from keras_negrec.data.logs.columns import check_columns, infer_kinds
from keras_negrec.data.logs.feedback_rule import Rule, to_events
from keras_negrec.data.logs.files import Source, find_files, first_line
from keras_negrec.data.logs.read_log import read_scan
from keras_negrec.data.logs.scan_files import scan_lines, scan_table, split_lines


class _Layout(NamedTuple):
    """How the lines of a file are made."""

    endings: tuple[str, ...]
    first_line: str  # A pattern that tells the layout whatever the file's name is.
    delimiter: str
    columns: str  # User, item, rating, time: the publisher's names.
    has_header: bool


_DAT = _Layout((".dat",), r".*::", "::", "UserID,MovieID,Rating,Timestamp", False)
_RECBOLE_FIELDS = r"\w+:(token|float)(_seq)?(\t|$)"
_RECBOLE = _Layout((".inter",), _RECBOLE_FIELDS, "\t", "user_id,item_id,rating,timestamp", True)
_CSV = _Layout((".csv",), "userId,", ",", "userId,movieId,rating,timestamp", True)
_NUMBERS, _ENDINGS = r"\d+\t\d+\t\d+\t\d+$", (".data", ".base", ".test")
_U_DATA = _Layout(_ENDINGS, _NUMBERS, "\t", "user id,item id,rating,timestamp", False)


def read_movielens(
    path: Source,
    *,
    feedback: str | Rule = "rating",
    positive_from: float = 4,
    errors: str = "raise",
) -> pd.DataFrame:
    """Reads MovieLens ratings in any layout in which they are published.

    Args:
        path: the file of ratings, or a folder that holds one: `ratings.dat` (1M, 10M),
            `ratings.csv` (20M and later), `u.data` (100K) or RecBole's `*.inter`. The first line
            tells which one it is, or else the file's ending; each may be packed (`.gz`).
        feedback: `"rating"`: ratings of at least `positive_from` are +1, those below -1;
            `"all_positive"`: every rating is +1, as the papers on next-item recommendation have
            it. Or a rule of your own, as in `read_frame`, on the columns `user`, `item`, `rating`
            and `timestamp`.
        positive_from: the first rating that is positive.
        errors: `"raise"` or `"skip"`, as in `read_log`, which says what is raised.

    Returns:
        An events table with the columns `session` (the user), `item`, `feedback` and
        `timestamp` (seconds), in the order of the file. Ids are integers; in an `.inter` file,
        which may hold any text, they are strings where not all are integers.

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
    return read_scan(scan_movielens, **locals())


def scan_movielens(
    path: Source,
    connection: ibis.BaseBackend,
    *,
    feedback: str | Rule = "rating",
    positive_from: float = 4,
    number_rows: bool = False,
) -> ir.Table:
    """The events of `read_movielens` as a lazy table.

    An `.inter` file is read once beforehand to see whether its ids and times are integers.
    """
    files = find_files(path, "ratings.dat", "ratings.csv", "u.data", "*.inter")
    if len(files) > 1:
        raise ValueError(f"Expected one file of ratings. Received: {files}")
    (file,) = files
    layout = _layout_of(file, first_line(file))
    columns = layout.columns.split(",")
    if layout.has_header:
        table = scan_table(
            files,
            connection,
            columns,
            delimiter=layout.delimiter,
            quoted=layout is _CSV,
            name_of=lambda field: field.split(":")[0],  # `user_id:token` in RecBole's files
            number_rows=number_rows,
        )
    else:
        lines = scan_lines(files, connection, number_rows=number_rows)
        table = split_lines(lines, columns, layout.delimiter)
    user, item, rating, timestamp = columns
    kinds = dict.fromkeys((user, item, timestamp), "integer")
    if layout is _RECBOLE:
        kinds = infer_kinds(table, {user: "id", item: "id", timestamp: "order"}, file)
        kinds[timestamp] = kinds[timestamp].replace("time", "number")
    table = check_columns(table, kinds | {rating: "number"}, file)
    roles = {"session": user, "item": item, "timestamp": timestamp}
    known = dict(zip(("user", "item", "rating", "timestamp"), columns, strict=True))
    ratings = table.mutate(**{name: table[column] for name, column in known.items()})
    rules = {
        "rating": lambda ratings: ibis.ifelse(ratings.rating >= positive_from, 1, -1),
        "all_positive": lambda ratings: ibis.literal(1),
    }
    return to_events(ratings, roles, feedback, rules, file)


def _layout_of(file: str, header: str) -> _Layout:
    """The layout that the first line tells, or else the file's ending."""
    layouts, header_text = (_DAT, _RECBOLE, _CSV, _U_DATA), header.replace('"', "")
    fits = [layout for layout in layouts if re.match(layout.first_line, header_text)]
    fits += [layout for layout in layouts if file.removesuffix(".gz").endswith(layout.endings)]
    if not fits:
        raise ValueError(
            f"In {file}, line 1: expected the ratings of MovieLens as in `ratings.dat`, "
            f"`ratings.csv`, `u.data` or `*.inter`. Received: {header[:200]!r}"
        )
    return fits[0]
