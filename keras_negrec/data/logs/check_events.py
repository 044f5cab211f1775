"""What an events table that a user has made must satisfy."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.api import types


def check_events(events: pd.DataFrame, *, source: str = "the events table") -> None:
    """Raises on the first thing that is wrong with an events table, which readers' are not.

    Args:
        events: a table with the columns `session`, `item` and `feedback`, and optionally
            `user`, `position` and `timestamp`.
        source: what to call the table in messages, for example its file.

    Raises:
        ValueError: no events, a missing column or value, feedback outside of -2..2.
        TypeError: not a DataFrame, or a column of a type that it cannot have.

    Example:

    >>> events = pd.DataFrame({"session": [1], "item": ["a"], "feedback": [3]})
    >>> keras_negrec.data.check_events(events)
    Traceback (most recent call last):
    ValueError: In the events table, column `feedback`, row 0: ... Received: 3
    """
    if not isinstance(events, pd.DataFrame):
        raise TypeError(f"Expected a pandas DataFrame. Received: {type(events).__name__}")
    absent = [column for column in ("session", "item", "feedback") if column not in events]
    if absent:
        raise ValueError(
            f"In {source}: column `{absent[0]}` is missing. Received columns: "
            f"{list(events.columns)}"
        )
    if len(events) == 0:
        raise ValueError(f"In {source}: there are no events.")

    def refuse(column: str, wrong, expected: str, error: type[Exception] = ValueError) -> None:
        wrong = np.broadcast_to(wrong, len(events))
        if wrong.any():
            row = int(wrong.argmax())
            value = events[column].iloc[row]
            value = value.item() if isinstance(value, np.generic) else value
            raise error(
                f"In {source}, column `{column}`, row {events.index[row]}: expected {expected}. "
                f"Received: {value!r}"
            )

    for column in ("session", "user", "item", "feedback", "position", "timestamp"):
        if column in events:
            refuse(column, events[column].isna(), "a value")
    for column in ("position", "timestamp"):
        if column in events and not types.is_datetime64_any_dtype(events[column]):
            is_number = types.is_any_real_numeric_dtype(events[column])
            refuse(column, not is_number, "numbers or times", TypeError)
    items = events["item"]
    if isinstance(items.dtype, pd.CategoricalDtype):
        items = items.astype(items.cat.categories.dtype)
    if types.infer_dtype(items, skipna=False) not in ("string", "integer"):
        wrong = [not isinstance(value, str) for value in items]
        refuse("item", wrong, "items that are all strings or all integers", TypeError)
    feedback = events["feedback"]
    refuse("feedback", not types.is_integer_dtype(feedback), "integers from -2 to 2", TypeError)
    refuse("feedback", ~feedback.between(-2, 2), "-2, -1, 0, 1 or 2")
