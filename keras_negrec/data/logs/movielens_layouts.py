"""The layouts in which MovieLens ratings are published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


class Layout(NamedTuple):
    """How the lines of a file are made."""

    endings: tuple[str, ...]
    first_line: str  # A pattern that tells the layout whatever the file's name is.
    delimiter: str
    columns: tuple[str, str, str, str]  # User, item, rating, time: the publisher's names.
    has_header: bool


RATINGS_DAT = Layout((".dat",), r".*::", "::", ("UserID", "MovieID", "Rating", "Timestamp"), False)
RECBOLE = Layout(
    (".inter",),
    r"\w+:(token|float)(_seq)?(\t|$)",
    "\t",
    ("user_id", "item_id", "rating", "timestamp"),
    True,
)
RATINGS_CSV = Layout((".csv",), r"userId,", ",", ("userId", "movieId", "rating", "timestamp"), True)
U_DATA = Layout(
    (".data", ".base", ".test"),
    r"\d+\t\d+\t\d+\t\d+$",
    "\t",
    ("user id", "item id", "rating", "timestamp"),
    False,
)


def layout_of(path: Path, header: str) -> Layout:
    """The layout that the first line tells, or else the file's ending.

    Raises:
        ValueError: neither tells it.
    """
    layouts = (RATINGS_DAT, RECBOLE, RATINGS_CSV, U_DATA)
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
