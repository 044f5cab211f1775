"""How a column of a table about items becomes features, for each kind of column.

A kind fits a column, as a dict that fits in JSON; names the features of what it fitted; and makes
them for the rows of a table, in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from keras_negrec.data.features.item_table import column_of, refuse


class Numbers:
    """Scaled to a mean of 0 and a deviation of 1, with an indicator of what is missing."""

    @staticmethod
    def fit(table: pd.DataFrame, name: str, where: str) -> dict[str, Any]:
        values = _numbers(table, name, where)
        missing = np.isnan(values)
        if missing.all():
            raise ValueError(f"In {where}, column {name!r}: every item's number is missing.")
        mean, deviation = float(np.nanmean(values)), float(np.nanstd(values)) or 1.0
        return {"mean": mean, "deviation": deviation, "has_missing": bool(missing.any())}

    @staticmethod
    def names(part: dict[str, Any]) -> list[str]:
        return [part["name"], *[f"{part['name']} missing"] * part["has_missing"]]

    @staticmethod
    def features(part: dict[str, Any], table: pd.DataFrame, where: str) -> np.ndarray:
        values = _numbers(table, part["name"], where)
        missing = np.isnan(values)
        scaled = np.where(missing, 0.0, (values - part["mean"]) / part["deviation"])
        return np.stack([scaled, missing], axis=1)[:, : 1 + part["has_missing"]]

    @staticmethod
    def of_no_row(part: dict[str, Any]) -> list[float]:
        """The features of an item of which nothing is known."""
        return [0.0, 1.0][: 1 + part["has_missing"]]


class Categories:
    """A feature for each frequent category, 1 where the item has it; rare ones share one."""

    @staticmethod
    def fit(
        table: pd.DataFrame,
        name: str,
        where: str,
        *,
        separator: str | None,
        min_items: int,
        max_categories: int,
    ) -> dict[str, Any]:
        # The most frequent first; equally frequent ones by their name.
        counts = _categories(table, name, separator, where).value_counts().sort_index()
        counts = counts.sort_values(ascending=False, kind="stable")
        if not len(counts):
            raise ValueError(f"In {where}, column {name!r}: no item has a category.")
        own = counts[:max_categories]
        values = own.index[own >= min_items].tolist()
        return {"separator": separator, "values": values, "has_other": len(values) < len(counts)}

    @staticmethod
    def names(part: dict[str, Any]) -> list[str]:
        own = [f"{part['name']}={value}" for value in part["values"]]
        return own + [f"{part['name']} other"] * part["has_other"]

    @staticmethod
    def features(part: dict[str, Any], table: pd.DataFrame, where: str) -> np.ndarray:
        texts = _categories(table, part["name"], part["separator"], where)
        block = np.zeros((len(table), len(part["values"]) + 1))
        # What is not there, -1, is the last column: "other", which there may not be.
        block[texts.index, pd.Index(part["values"]).get_indexer(texts)] = 1
        return block if part["has_other"] else block[:, :-1]

    @staticmethod
    def of_no_row(part: dict[str, Any]) -> list[float]:
        return [0.0] * (len(part["values"]) + part["has_other"])


class Texts:
    """A feature for each word piece, 1 where it occurs in the item's text.

    The pieces are learned from the texts, in lower case and without accents, by KerasHub.
    """

    @staticmethod
    def fit(table: pd.DataFrame, name: str, where: str, *, max_word_pieces: int) -> dict[str, Any]:
        import tensorflow as tf  # these take seconds to load
        from keras_hub.tokenizers import compute_word_piece_vocabulary

        texts = _texts(table, name, where)
        if not any(text.strip() for text in texts):
            raise ValueError(f"In {where}, column {name!r}: no item has a text.")
        pieces = compute_word_piece_vocabulary(
            tf.data.Dataset.from_tensor_slices(texts),
            vocabulary_size=max_word_pieces,
            reserved_tokens=[_UNKNOWN],
            **_PLAIN,
        )
        return {"values": pieces[1:]}

    @staticmethod
    def names(part: dict[str, Any]) -> list[str]:
        return [f"{part['name']}: {piece}" for piece in part["values"]]

    @staticmethod
    def features(part: dict[str, Any], table: pd.DataFrame, where: str) -> np.ndarray:
        from keras_hub.tokenizers import WordPieceTokenizer

        tokenizer = WordPieceTokenizer([_UNKNOWN, *part["values"]], **_PLAIN)
        block = np.zeros((len(table), len(part["values"]) + 1))
        for row, pieces in zip(block, tokenizer(_texts(table, part["name"], where)), strict=True):
            row[pieces] = 1
        return block[:, 1:]

    @staticmethod
    def of_no_row(part: dict[str, Any]) -> list[float]:
        return [0.0] * len(part["values"])


KINDS: dict[str, Any] = {"number": Numbers, "category": Categories, "text": Texts}
_UNKNOWN = "[UNK]"
_PLAIN = {"lowercase": True, "strip_accents": True}


def _numbers(table: pd.DataFrame, name: str, where: str) -> np.ndarray:
    """float64, NaN where missing."""
    values = column_of(table, name, where)
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        text = values.astype(object)
        text = text.where(text != "", None)
        values = pd.to_numeric(text, errors="coerce")
        wrong = values.isna() & text.notna()
        wrong |= text.map(lambda value: isinstance(value, bool))
        refuse(text, wrong, "expected a number", where)
    result = values.to_numpy("float64", na_value=np.nan)
    refuse(values, np.isinf(result), "expected a finite number", where)
    return result


def _categories(table: pd.DataFrame, name: str, separator: str | None, where: str) -> pd.Series:
    """The categories of all rows, indexed by the number of the row: none, one, or several each."""
    cells = column_of(table, name, where).astype(object).reset_index(drop=True)
    if separator is not None:
        cells = cells.map(lambda cell: cell.split(separator) if isinstance(cell, str) else cell)
    cells = cells.explode().dropna()
    texts = cells.map(_text)
    return texts[texts != ""]


def _text(cell) -> str:
    is_whole = isinstance(cell, float) and cell.is_integer()  # an integer, where some are missing
    return str(int(cell) if is_whole else cell).strip()


def _texts(table: pd.DataFrame, name: str, where: str) -> list[str]:
    """The text of each row, "" where it is missing."""
    cells = column_of(table, name, where).astype(object)
    cells = cells.where(cells.notna(), "")
    refuse(cells, cells.map(lambda cell: not isinstance(cell, str)), "expected a text", where)
    return cells.tolist()
