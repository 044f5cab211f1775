"""The reader of any table whose columns are named by the caller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_negrec.data.logs.check_events import check_events
from keras_negrec.data.logs.table_columns import (
    numbers_or_times,
    pick_column,
    text_to_ids,
    to_feedback,
)
from keras_negrec.data.logs.table_files import (
    existing_file,
    read_delimited,
    read_parquet,
    read_text,
)


def read_frame(
    frame: pd.DataFrame | str | Path,
    *,
    session: str,
    item: str,
    feedback: str | Callable[[pd.DataFrame], Any] | None = None,
    user: str | None = None,
    position: str | None = None,
    timestamp: str | None = None,
) -> pd.DataFrame:
    """Makes an events table of any table, given the names of its columns.

    Args:
        frame: a DataFrame, or the path of a `.csv`, `.csv.gz` or `.parquet` file. A CSV file has
            a header, and no line breaks inside of values.
        session: name of the column that tells sessions apart.
        item: name of the column of item ids, strings or integers.
        feedback: name of a column of whole numbers from -2 to 2, or a function of the whole
            DataFrame that returns one such number a row. The default is the column `feedback`,
            and where there is none, +1 for every event.
        user: name of the column of users, where they have more sessions than one.
        position: name of a column of numbers or times that orders the events of a session.
        timestamp: name of a column of numbers or times.

    Returns:
        An events table with the columns `session`, `item`, `feedback`, and those of `user`,
        `position` and `timestamp` that were given, in the order of the input. Sessions, items
        and users of a CSV file are integers if all in the column are, else strings.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column or a value that is missing, feedback outside of -2..2 or with
            fractions, a position or timestamp that is neither number nor time, an empty or
            unreadable file.
        TypeError: items that are neither all strings nor all integers.

    Example:

    >>> plays = pd.DataFrame({
    ...     "listener": ["ann", "ann", "bob"], "track": [10, 11, 10], "played": [0.9, 0.1, 1.0]
    ... })
    >>> keras_negrec.data.read_frame(
    ...     plays, session="listener", item="track",
    ...     feedback=lambda plays: np.where(plays["played"] < 0.5, -1, 1),
    ... )
      session  item  feedback
    0     ann    10         1
    1     ann    11        -1
    2     bob    10         1
    """
    names = {"session": session, "item": item}
    for role, name in (("user", user), ("position", position), ("timestamp", timestamp)):
        if name is not None:
            names[role] = name
    ids = {role: name for role, name in names.items() if role in ("session", "item", "user")}
    if isinstance(frame, pd.DataFrame):
        table, source, is_text = frame, "the DataFrame", False
    else:
        path = existing_file(frame)
        is_text = path.name.endswith((".csv", ".csv.gz"))
        table, source = _read_file(path, list(ids.values()), is_text), str(path)
    columns = {role: pick_column(table, name, source) for role, name in names.items()}
    for role in ("position", "timestamp"):
        if role in columns:
            columns[role] = numbers_or_times(columns[role], source)
    if is_text:
        columns |= {role: text_to_ids(columns[role], source) for role in ids}
    if feedback is None and "feedback" in table.columns:
        feedback = "feedback"
    if feedback is None:
        values, name = np.ones(len(table), "int8"), "feedback"
    elif callable(feedback):
        if is_text:  # The function sees ids as the events have them.
            table = table.assign(**{ids[role]: columns[role] for role in ids})
        values, name = feedback(table), "feedback"
    else:
        values, name = pick_column(table, feedback, source), feedback
    columns["feedback"] = to_feedback(values, table.index, source, name)
    order = ("session", "item", "feedback", "user", "position", "timestamp")
    events = pd.DataFrame({role: columns[role].array for role in order if role in columns})
    check_events(events, source=source)
    return events


def _read_file(path: Path, ids: list[str], is_text: bool) -> pd.DataFrame:
    if is_text:
        return read_delimited(read_text(path), path, delimiter=",", text_columns=ids, quoted=True)
    if path.suffix == ".parquet":
        return read_parquet(path)
    raise ValueError(f"Expected a .csv, .csv.gz or .parquet file. Received: {path}")
