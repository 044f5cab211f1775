"""From a table about items to the numbers that describe them, the same way every time."""

from __future__ import annotations

import json
import numbers
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_choice, check_positive_int
from keras_negrec.data.vocabulary import Vocabulary

_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class _Number:
    """A column of numbers: its mean and deviation, and whether some are missing."""

    name: str
    mean: float
    deviation: float
    has_missing: bool

    @property
    def columns(self) -> list[str]:
        return [self.name, *([f"{self.name} missing"] if self.has_missing else [])]

    def encode(self, table: pd.DataFrame, where: str, rows: np.ndarray, size: int) -> np.ndarray:
        """The features of `size` items, those at `rows` from the table."""
        values = np.full(size, np.nan)
        values[rows] = _numbers(table, self.name, where)
        missing = np.isnan(values)
        scaled = np.where(missing, 0.0, (values - self.mean) / self.deviation)
        return np.stack([scaled, missing] if self.has_missing else [scaled], axis=1)


@dataclass(frozen=True)
class _Category:
    """A column of categories: those with a feature of their own, and whether others have one."""

    name: str
    separator: str | None
    values: tuple[str, ...]
    has_other: bool

    @property
    def columns(self) -> list[str]:
        own = [f"{self.name}={value}" for value in self.values]
        return [*own, *([f"{self.name} other"] if self.has_other else [])]

    def encode(self, table: pd.DataFrame, where: str, rows: np.ndarray, size: int) -> np.ndarray:
        place = {value: index for index, value in enumerate(self.values)}
        other = len(self.values)  # dropped below where there is no such feature
        encoded = np.zeros((size, other + 1))
        of_rows = _categories(table, self.name, self.separator, where)
        for row, values in zip(rows, of_rows, strict=True):
            for value in values:
                encoded[row, place.get(value, other)] = 1
        return encoded[:, : other + self.has_other]


class ItemFeatureEncoder:
    """A fitted transformation from columns about items to their features.

    Fit it with `ItemFeatureEncoder.fit`, or with `item_features`. Numbers are scaled to a mean of
    0 and a deviation of 1 over the items it was fitted on, with 0 and an indicator for missing
    ones; a category is 1 where the item has it. What is fitted is kept in `save`, so that items
    that come later get the same features.

    A feature has a place only if some item had it when this was fitted, since no model could
    have learnt another. Later items that miss a number that was never missing get its mean, and
    a category that is new counts as a rare one.

    Args:
        item: str. The column of the external item id.
        parts: the fitted columns, in the order of the features.

    Example:

    >>> items = pd.DataFrame({"item": ["a", "b", "c"], "year": [1990, 2000, 2010]})
    >>> vocabulary = keras_negrec.data.Vocabulary(["a", "c", "b"])
    >>> encoder = keras_negrec.data.ItemFeatureEncoder.fit(items, vocabulary, numeric=["year"])
    >>> encoder.transform(items, vocabulary)
    array([[-1.2247449],
           [ 1.2247449],
           [ 0.       ]], dtype=float32)
    """

    def __init__(self, item: str, parts: Sequence[_Number | _Category]):
        self.item = item
        self._parts = tuple(parts)
        self.num_filled = 0

    @classmethod
    def fit(
        cls,
        source: pd.DataFrame | str | Path,
        vocabulary: Vocabulary,
        *,
        item: str = "item",
        numeric: Sequence[str] = (),
        categories: Sequence[str] | Mapping[str, str | None] = (),
        min_items: int = 2,
        max_categories: int = 500,
        missing_items: str = "raise",
    ) -> ItemFeatureEncoder:
        """Fits on the vocabulary's items; the arguments are those of `item_features`."""
        if isinstance(numeric, str) or isinstance(categories, str):
            raise TypeError(
                "`numeric` and `categories` take several names. Received: "
                f"numeric={numeric!r}, categories={categories!r}"
            )
        check_positive_int("min_items", min_items)
        check_positive_int("max_categories", max_categories)
        separators = categories if isinstance(categories, Mapping) else dict.fromkeys(categories)
        names = [*numeric, *separators]
        if not names:
            raise ValueError("`numeric` or `categories` must name a column. Received: none.")
        if len(set(names)) != len(names) or item in names:
            raise ValueError(
                f"A column is the item, a number or a category, once. Received: item={item!r}, "
                f"numeric={list(numeric)}, categories={list(separators)}"
            )
        table, where = _read(source)
        rows, _ = _rows_of(table, item, vocabulary, missing_items, where)
        table = table.iloc[rows[rows >= 0]]
        parts: list[_Number | _Category] = []
        for name in numeric:
            values = _numbers(table, name, where)
            if np.isnan(values).all():
                raise ValueError(f"In {where}, column {name!r}: every item's number is missing.")
            mean, deviation = float(np.nanmean(values)), float(np.nanstd(values)) or 1.0
            parts.append(_Number(name, mean, deviation, bool(np.isnan(values).any())))
        for name, separator in separators.items():
            counts = Counter(chain.from_iterable(_categories(table, name, separator, where)))
            if not counts:
                raise ValueError(f"In {where}, column {name!r}: no item has a category.")
            # The most frequent first; equally frequent ones by their name.
            ordered = sorted(counts, key=lambda value: (-counts[value], value))
            own = [value for value in ordered[:max_categories] if counts[value] >= min_items]
            parts.append(_Category(name, separator, tuple(own), len(own) < len(counts)))
        return cls(item, parts)

    @property
    def columns(self) -> list[str]:
        """The names of the features, such as `"year"`, `"year missing"` or `"genre=rock"`."""
        return [name for part in self._parts for name in part.columns]

    def transform(
        self,
        source: pd.DataFrame | str | Path,
        vocabulary: Vocabulary,
        *,
        missing_items: str = "raise",
    ) -> np.ndarray:
        """The features of the vocabulary's items, for `build_model(item_features=...)`.

        Args:
            source: as for `item_features`.
            vocabulary: `Vocabulary`, which may hold items that were not there in `fit`.
            missing_items: as for `item_features`. `num_filled` tells how many were missing.

        Returns:
            float32 array of shape `(num_items, num_features)`, row `j` for item `j + 1`.

        Raises:
            ValueError: what `item_features` raises.
        """
        table, where = _read(source)
        rows, self.num_filled = _rows_of(table, self.item, vocabulary, missing_items, where)
        found = np.flatnonzero(rows >= 0)
        table = table.iloc[rows[found]]
        blocks = [part.encode(table, where, found, len(rows)) for part in self._parts]
        return np.concatenate(blocks, axis=1).astype("float32")

    def save(self, path: str | Path) -> None:
        """Writes what was fitted as JSON."""
        content = {
            "schema_version": _SCHEMA_VERSION,
            "item": self.item,
            "parts": [
                {"kind": type(part).__name__[1:].lower(), **vars(part)} for part in self._parts
            ],
        }
        Path(path).write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> ItemFeatureEncoder:
        """Reads what `save` wrote.

        Raises:
            ValueError: a file of another schema version.
        """
        content = json.loads(_existing(path).read_text("utf-8"))
        if content.get("schema_version") != _SCHEMA_VERSION:
            raise ValueError(
                f"{path}: expected schema version {_SCHEMA_VERSION}. Received: "
                f"{content.get('schema_version')!r}"
            )
        parts: list[_Number | _Category] = []
        for part in content["parts"]:
            if part.pop("kind") == "number":
                parts.append(_Number(**part))
            else:
                parts.append(_Category(**part | {"values": tuple(part["values"])}))
        return cls(content["item"], parts)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ItemFeatureEncoder)
            and self.item == other.item
            and self._parts == other._parts
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        names = ", ".join(part.name for part in self._parts)
        return f"<ItemFeatureEncoder: {len(self.columns)} features of {names}>"


def _existing(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no such file. Received: {path}")
    return Path(path)


def _read(source: pd.DataFrame | str | Path) -> tuple[pd.DataFrame, str]:
    """The table, of text only where a file is text, and what messages call it."""
    if isinstance(source, pd.DataFrame):
        return source, "the DataFrame"
    path = _existing(source)
    ending = path.name.removesuffix(".gz").rpartition(".")[2]
    separator = {"csv": ",", "tsv": "\t", "parquet": ""}.get(ending)
    if separator is None:
        raise ValueError(
            f"Expected a .csv, .tsv (either may end in .gz) or .parquet file. Received: {path}"
        )
    try:
        if ending == "parquet":
            return pd.read_parquet(path), str(path)
        text = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
        return pd.read_csv(path, sep=separator, **text), str(path)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read. Received: {error}") from error


def _refuse(values: pd.Series, wrong, expectation: str, where: str) -> None:
    """Raises about the first value that is wrong."""
    for row in np.flatnonzero(np.asarray(wrong, bool))[:1]:
        raise ValueError(
            f"In {where}, column {values.name!r}, row {values.index[row]}: {expectation}. "
            f"Received: {values.iloc[[row]].tolist()[0]!r}"
        )


def _rows_of(
    table: pd.DataFrame, item: str, vocabulary: Vocabulary, missing_items: str, where: str
) -> tuple[np.ndarray, int]:
    """The row of each of the vocabulary's items, -1 where there is none, and how many have none."""
    check_choice("missing_items", missing_items, ("raise", "fill"))
    ids = _column(table, item, where)
    _refuse(ids, ids.isna(), "expected a value", where)
    _refuse(
        ids, ids.duplicated(), "expected one row for each item, this one is there before", where
    )
    items = ids.tolist()
    if where != "the DataFrame" and not vocabulary.is_string:  # The text of a file.
        items = [int(v) if isinstance(v, str) and v.isdigit() else v for v in items]
    kind, name = (str, "strings") if vocabulary.is_string else (numbers.Integral, "integers")
    wrong = [not isinstance(value, kind) or isinstance(value, bool) for value in items]
    _refuse(ids, wrong, f"the vocabulary's items are {name}", where)
    rows = pd.Index(np.array(items, object if vocabulary.is_string else "int64")).get_indexer(
        vocabulary.items
    )
    num_missing = int((rows < 0).sum())
    if num_missing and missing_items == "raise":
        first = vocabulary.items[rows < 0].tolist()[0]
        raise ValueError(
            f"In {where}: {num_missing} of the vocabulary's {len(rows)} items have no row, first: "
            f'{first!r}. With missing_items="fill" they get the features of an unknown item.'
        )
    if num_missing == len(rows):
        raise ValueError(f"In {where}: none of the vocabulary's {len(rows)} items has a row.")
    return rows, num_missing


def _numbers(table: pd.DataFrame, name: str, where: str) -> np.ndarray:
    """float64, NaN where missing."""
    values = _column(table, name, where)
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        text = values.astype(object)
        numeric = pd.to_numeric(text.where(text != "", None), errors="coerce")
        wrong = numeric.isna() & ~(text.isna() | (text == ""))
        wrong |= text.map(lambda value: isinstance(value, bool))
        _refuse(text, wrong, "expected a number", where)
        values = numeric
    result = values.to_numpy("float64", na_value=np.nan)
    _refuse(values, np.isinf(result), "expected a finite number", where)
    return result


def _categories(
    table: pd.DataFrame, name: str, separator: str | None, where: str
) -> list[list[str]]:
    """The categories of each row: none, one, or several."""
    return [_texts(value, separator) for value in _column(table, name, where)]


def _texts(value, separator: str | None) -> list[str]:
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [text for part in value for text in _texts(part, None)]
    if pd.isna(value):
        return []
    if separator is not None:
        return [text for part in str(value).split(separator) if (text := part.strip())]
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # integers become floats where some are missing
    return [text] if (text := str(value).strip()) else []


def _column(table: pd.DataFrame, name: str, where: str) -> pd.Series:
    if name not in table.columns:
        raise ValueError(
            f"In {where}: column {name!r} is missing. Received columns: {list(table.columns)}"
        )
    return table[name]
