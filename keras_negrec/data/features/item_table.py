"""A table about items: read, checked, and matched with a vocabulary."""

from __future__ import annotations

import numbers
from pathlib import Path

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_choice
from keras_negrec.data.vocabulary import Vocabulary


def read_table(source: pd.DataFrame | str | Path) -> tuple[pd.DataFrame, str]:
    """The table, of text only where a file is text, and what messages call it."""
    if isinstance(source, pd.DataFrame):
        return source, "the DataFrame"
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"There is no such file. Received: {path}")
    ending = path.name.removesuffix(".gz").rpartition(".")[2]
    if ending not in ("csv", "tsv", "parquet"):
        raise ValueError(
            f"Expected a .csv, .tsv (either may end in .gz) or .parquet file. Received: {path}"
        )
    try:
        if ending == "parquet":
            return pd.read_parquet(path), str(path)
        text = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
        return pd.read_csv(path, sep="\t" if ending == "tsv" else ",", **text), str(path)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read. Received: {error}") from error


def column_of(table: pd.DataFrame, name: str, where: str) -> pd.Series:
    if name not in table.columns:
        raise ValueError(
            f"In {where}: column {name!r} is missing. Received columns: {list(table.columns)}"
        )
    return table[name]


def refuse(values: pd.Series, wrong, expectation: str, where: str) -> None:
    """Raises about the first value that is wrong."""
    for row in np.flatnonzero(np.asarray(wrong, bool))[:1]:
        raise ValueError(
            f"In {where}, column {values.name!r}, row {values.index[row]}: {expectation}. "
            f"Received: {values.iloc[[row]].tolist()[0]!r}"
        )


def rows_of(
    table: pd.DataFrame, item: str, vocabulary: Vocabulary, missing_items: str, where: str
) -> np.ndarray:
    """The row of each of the vocabulary's items, -1 where there is none."""
    check_choice("missing_items", missing_items, ("raise", "fill"))
    ids = column_of(table, item, where)
    refuse(ids, ids.isna(), "expected a value", where)
    once = "expected one row for each item, this one is there before"
    refuse(ids, ids.duplicated(), once, where)
    items = ids.tolist()
    if where != "the DataFrame" and not vocabulary.is_string:  # The text of a file.
        items = [int(v) if isinstance(v, str) and v.isdigit() else v for v in items]
    kind, name = (str, "strings") if vocabulary.is_string else (numbers.Integral, "integers")
    wrong = [not isinstance(value, kind) or isinstance(value, bool) for value in items]
    refuse(ids, wrong, f"the vocabulary's items are {name}", where)
    rows = pd.Index(items, dtype=vocabulary.items.dtype).get_indexer(vocabulary.items)
    missing = vocabulary.items[rows < 0].tolist()
    if missing and missing_items == "raise":
        raise ValueError(
            f"In {where}: {len(missing)} of the vocabulary's {len(rows)} items have no row, first: "
            f'{missing[0]!r}. With missing_items="fill" they get the features of an unknown item.'
        )
    if len(missing) == len(rows):
        raise ValueError(f"In {where}: none of the vocabulary's {len(rows)} items has a row.")
    return rows
