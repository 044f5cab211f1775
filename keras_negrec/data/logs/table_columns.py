"""Checked columns of raw tables; a wrong value is named by file, column and row."""

from __future__ import annotations

import numbers
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from keras_negrec.data.logs.table_files import LINE

# What survives the way to an integer and back: no leading zeros, no more than 18 digits.
_INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"


def pick_column(frame: pd.DataFrame, name: str, source: str | Path) -> pd.Series:
    """The column of that name, in which every value is there."""
    if name not in frame.columns:
        raise ValueError(
            f"In {source}: column {name!r} is missing. Received columns: {list(frame.columns)}"
        )
    values = frame[name]
    if isinstance(values, pd.DataFrame):
        raise ValueError(
            f"In {source}: column {name!r} must be there once. Received columns: "
            f"{list(frame.columns)}"
        )
    return refuse(values, values.isna(), "expected a value", source)


def refuse(values: pd.Series, wrong, expectation: str, source: str | Path) -> pd.Series:
    """The values as they are, or an error about the first one that is `wrong`."""
    wrong = np.asarray(wrong, dtype=bool)
    if wrong.any():
        _refuse_row(values, int(wrong.argmax()), expectation, source)
    return values


def _refuse_row(values: pd.Series, row: int, expectation: str, source: str | Path) -> NoReturn:
    kind = "line" if values.index.name == LINE else "row"
    value = values.iloc[row]
    value = value.item() if isinstance(value, np.generic) else value
    raise ValueError(
        f"In {source}, column {values.name!r}, {kind} {values.index[row]}: {expectation}. "
        f"Received: {value!r}"
    )


def text_to_numbers(text: pd.Series, source: str | Path) -> pd.Series:
    """Finite numbers of a column of text: int64 where all are whole, else float64."""
    try:
        column = pa.compute.cast(pa.array(text, pa.string()), pa.float64())
        values = pd.Series(column.to_numpy(zero_copy_only=False), text.index)
    except pa.ArrowInvalid:  # Slower, and tells which value it is.
        values = pd.to_numeric(text, errors="coerce").astype("float64")
    refuse(text, ~np.isfinite(values), "expected a number", source)
    return values.astype("int64") if (values % 1 == 0).all() else values


def text_to_integers(text: pd.Series, source: str | Path) -> pd.Series:
    """int64 ids of a column of text in which every value must be one."""
    is_integer = _is_integer(text)
    refuse(text, ~is_integer, "expected an integer", source)
    return text.astype("int64")


def text_to_ids(text: pd.Series, source: str | Path) -> pd.Series:
    """int64 if every value is an integer, else the text: `"007"` and `"7"` stay two ids."""
    refuse(text, text == "", "expected an id", source)
    return text.astype("int64") if _is_integer(text).all() else text


def _is_integer(text: pd.Series) -> np.ndarray:
    matches = pa.compute.match_substring_regex(pa.array(text, pa.string()), _INTEGER)
    return np.asarray(matches, dtype=bool)


def numbers_or_times(values: pd.Series, source: str | Path) -> pd.Series:
    """A column that events can be ordered by."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return values
    return _numbers(values, "expected a number or a time", source)


def to_feedback(values, index: pd.Index, source: str | Path, name: str = "feedback") -> pd.Series:
    """int8 feedback from any sequence of whole numbers between -2 and 2, one a row."""
    series = pd.Series(values).rename(name)
    if len(series) != len(index):
        raise ValueError(
            f"In {source}: expected one feedback value for each of the {len(index)} rows. "
            f"Received: {len(series)} values."
        )
    series.index = index
    refuse(series, series.isna(), "expected feedback", source)
    series = _numbers(series, "expected feedback as a number", source)
    refuse(series, ~series.isin(range(-2, 3)), "feedback must be -2, -1, 0, 1 or 2", source)
    return series.astype("int8")


def _numbers(values: pd.Series, expectation: str, source: str | Path) -> pd.Series:
    """The numbers of a column that may be of Python objects or of categories."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values
    plain = values.astype(object)
    wrong = np.array([not isinstance(v, numbers.Real) or isinstance(v, bool) for v in plain])
    if wrong.any():
        # A column of text is mostly one of numbers with a blemish: the blemish is the news.
        blemish = wrong & pd.to_numeric(plain.astype(str), errors="coerce").isna().to_numpy()
        _refuse_row(
            values, int((blemish if blemish.any() else wrong).argmax()), expectation, source
        )
    return pd.to_numeric(plain)
