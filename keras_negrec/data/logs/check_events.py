"""What every events table must satisfy, checked in one place."""

from __future__ import annotations

import numpy as np
import pandas as pd


def check_events(events: pd.DataFrame, *, source: str = "the events table") -> None:
    """Raises on the first thing that is wrong with an events table.

    Args:
        events: a table with the columns `session`, `item` and `feedback`, and optionally
            `user`, `position` and `timestamp`.
        source: what to call the table in messages, for example its file.

    Raises:
        ValueError: no events, a missing column, a missing value, feedback outside of -2..2.
        TypeError: not a DataFrame; items neither strings nor integers; feedback, position or
            timestamp of another type than numbers or times.

    Example:

    >>> events = pd.DataFrame({"session": [1], "item": ["a"], "feedback": [3]})
    >>> keras_negrec.data.check_events(events)
    Traceback (most recent call last):
    ValueError: In the events table, column `feedback`, row 0: ... Received: 3
    """
    if not isinstance(events, pd.DataFrame):
        raise TypeError(f"Expected a pandas DataFrame. Received: {type(events).__name__}")
    for column in ("session", "item", "feedback"):
        if column not in events:
            raise ValueError(
                f"In {source}: column `{column}` is missing. Received columns: "
                f"{list(events.columns)}"
            )
    if len(events) == 0:
        raise ValueError(f"In {source}: there are no events.")
    for column in ("session", "user", "item", "feedback", "position", "timestamp"):
        if column in events:
            missing = events[column].isna().to_numpy()
            if missing.any():
                raise ValueError(
                    f"In {source}, column `{column}`, row {events.index[missing.argmax()]}: "
                    f"the value is missing ({missing.sum()} such rows)."
                )
    for column in ("position", "timestamp"):
        if column in events and not (
            pd.api.types.is_numeric_dtype(events[column])
            or pd.api.types.is_datetime64_any_dtype(events[column])
        ):
            raise TypeError(
                f"In {source}, column `{column}`: expected numbers or times. Received dtype "
                f"{events[column].dtype}, first value {events[column].iloc[0]!r}"
            )
    items = events["item"]
    if isinstance(items.dtype, pd.CategoricalDtype):
        items = items.astype(items.cat.categories.dtype)
    if pd.api.types.infer_dtype(items, skipna=False) not in ("string", "integer"):
        row = np.argmin([isinstance(value, str) for value in items])
        raise TypeError(
            f"In {source}, column `item`, row {events.index[row]}: items must be all strings "
            f"or all integers. Received: {items.iloc[row]!r}"
        )
    if not pd.api.types.is_integer_dtype(events["feedback"]):
        raise TypeError(
            f"In {source}, column `feedback`: expected integers -2 to 2. Received dtype "
            f"{events['feedback'].dtype}, first value {events['feedback'].iloc[0]!r}"
        )
    wrong = ~events["feedback"].between(-2, 2).to_numpy()
    if wrong.any():
        row = wrong.argmax()
        raise ValueError(
            f"In {source}, column `feedback`, row {events.index[row]}: feedback must be -2, -1, "
            f"0, 1 or 2. Received: {events['feedback'].iloc[row]}"
        )
