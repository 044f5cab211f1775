"""From a table about items to the numbers that describe them, the same way every time."""

from __future__ import annotations

import json
import numbers
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_choice, check_positive_int
from keras_negrec.atomic_write import atomic_write
from keras_negrec.data.vocabulary import Vocabulary


class ItemFeatureEncoder:
    """A fitted transformation from columns about items to their features.

    Fit it with `item_features`, or with `ItemFeatureEncoder.fit`. What is fitted is kept in `save`,
    so that items that come later get the same features.

    A feature has a place only if some item had it when this was fitted, since no model could
    have learnt another. Later items that miss a number that was never missing get its mean, and
    a category that is new counts as a rare one.

    Args:
        item: str. The column of the external item id.
        parts: the fitted columns, in the order of the features, as `save` writes them.

    Example: see `item_features`.
    """

    def __init__(self, item: str, parts: Iterable[Mapping[str, Any]]):
        self.item = item
        self.num_filled = 0
        self._parts = list(parts)

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
        """Fits on the items of the vocabulary.

        Numbers are scaled to a mean of 0 and a deviation of 1; a missing one becomes 0, the mean,
        and sets an indicator of its own. A category becomes a feature that is 1 where the item has
        it; an item may have several, or none. Rare categories share one feature, "other".

        Args:
            source: DataFrame, or path of a `.csv`, `.tsv` or `.parquet` file, with one row for each
                item. Rows of items that the vocabulary does not hold are not used.
            vocabulary: `Vocabulary`.
            item: str. The column of the external item id.
            numeric: names of columns of numbers.
            categories: names of columns of categories, or a dict from names to what separates
                several values in one cell, such as `{"genre": None, "tags": "|"}`. Cells may also
                hold lists.
            min_items: int. A category of fewer items counts as rare.
            max_categories: int. No more than so many of a column, the most frequent ones, have a
                feature of their own.
            missing_items: `"raise"`, or `"fill"`: items without a row get missing numbers and no
                categories. After `transform`, `num_filled` tells how many.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a column that is missing or empty, or none; an item without a row or with
                two; a value that is no finite number in a numeric column.
        """
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
        if len({item, *names}) <= len(names):
            raise ValueError(
                f"A column is the item, a number or a category, once. Received: item={item!r}, "
                f"numeric={list(numeric)}, categories={list(separators)}"
            )
        table, where = _read(source)
        rows = _rows_of(table, item, vocabulary, missing_items, where)
        table = table.iloc[rows[rows >= 0]]
        parts: list[dict[str, Any]] = []
        for name in numeric:
            values = _numbers(table, name, where)
            missing = np.isnan(values)
            if missing.all():
                raise ValueError(f"In {where}, column {name!r}: every item's number is missing.")
            mean, deviation = float(np.nanmean(values)), float(np.nanstd(values)) or 1.0
            part = {"kind": "number", "name": name, "mean": mean, "deviation": deviation}
            parts.append(part | {"has_missing": bool(missing.any())})
        for name, separator in separators.items():
            # The most frequent first; equally frequent ones by their name.
            counts = _categories(table, name, separator, where).value_counts().sort_index()
            counts = counts.sort_values(ascending=False, kind="stable")
            if not len(counts):
                raise ValueError(f"In {where}, column {name!r}: no item has a category.")
            own = counts[:max_categories]
            own = own.index[own >= min_items].tolist()
            part = {"kind": "category", "name": name, "separator": separator, "values": own}
            parts.append(part | {"has_other": len(own) < len(counts)})
        return cls(item, parts)

    @property
    def columns(self) -> list[str]:
        """The names of the features, such as `"year"`, `"year missing"` or `"genre=rock"`."""
        names: list[str] = []
        for part in self._parts:
            if part["kind"] == "number":
                names += [part["name"], *[f"{part['name']} missing"] * part["has_missing"]]
            else:
                names += [f"{part['name']}={value}" for value in part["values"]]
                names += [f"{part['name']} other"] * part["has_other"]
        return names

    def transform(
        self,
        source: pd.DataFrame | str | Path,
        vocabulary: Vocabulary,
        *,
        missing_items: str = "raise",
    ) -> np.ndarray:
        """The features of the vocabulary's items, for `build_model(item_features=...)`.

        Args and what raises are those of `fit`; the vocabulary may hold items that were not there.

        Returns:
            float32 array of shape `(num_items, num_features)`, row `j` for item `j + 1`.
        """
        table, where = _read(source)
        rows = _rows_of(table, self.item, vocabulary, missing_items, where)
        found = np.flatnonzero(rows >= 0)
        self.num_filled = len(rows) - len(found)
        table = table.iloc[rows[found]]
        blocks = []
        for part in self._parts:
            if part["kind"] == "number":
                values = np.full(len(rows), np.nan)
                values[found] = _numbers(table, part["name"], where)
                missing = np.isnan(values)
                scaled = np.where(missing, 0.0, (values - part["mean"]) / part["deviation"])
                blocks.append(np.stack([scaled, missing], axis=1)[:, : 1 + part["has_missing"]])
            else:
                texts = _categories(table, part["name"], part["separator"], where)
                block = np.zeros((len(rows), len(part["values"]) + 1))
                # What is not there, -1, is the last column: "other", which there may not be.
                block[found[texts.index], pd.Index(part["values"]).get_indexer(texts)] = 1
                blocks.append(block if part["has_other"] else block[:, :-1])
        return np.concatenate(blocks, axis=1).astype("float32")

    def save(self, path: str | Path) -> None:
        """Writes what was fitted as JSON; the file is there whole or not at all."""
        content = {"schema_version": 1, "item": self.item, "parts": self._parts}
        with atomic_write(Path(path)) as partial:
            partial.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> ItemFeatureEncoder:
        """Reads what `save` wrote; a file of another schema version is a ValueError."""
        try:
            content = json.loads(Path(path).read_text("utf-8"))
            version = content.get("schema_version")
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path} must hold a JSON object. Received: {error}") from error
        if version != 1:
            raise ValueError(f"{path}: expected schema version 1. Received: {version!r}")
        return cls(content["item"], content["parts"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ItemFeatureEncoder):
            return False
        return (self.item, self._parts) == (other.item, other._parts)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        names = ", ".join(part["name"] for part in self._parts)
        return f"<ItemFeatureEncoder: {len(self.columns)} features of {names}>"


def item_features(
    source: pd.DataFrame | str | Path,
    vocabulary: Vocabulary,
    *,
    missing_items: str = "raise",
    folder: str | Path | None = None,
    **columns: Any,
) -> tuple[ItemFeatureEncoder, np.ndarray]:
    """Numbers that describe each item, made from the columns of a table.

    Args:
        source, vocabulary, missing_items: see `ItemFeatureEncoder.fit`, also for what raises.
        folder: where to store the encoder, as `item_features.json` beside the vocabulary, such as
            `prepared.folder`; None does not store it.
        columns: `numeric`, `categories` and the other arguments of `ItemFeatureEncoder.fit`.

    Returns:
        The fitted `ItemFeatureEncoder`, whose `transform` gives later items the same features,
        and the features of the vocabulary's items, as `transform` gives them.

    Example:

    >>> tags = ["calm|old", "calm", "new|calm", "old"]
    >>> items = pd.DataFrame({"item": list("abcd"), "tempo": [90, 120, None, 150], "tags": tags})
    >>> vocabulary = keras_negrec.data.Vocabulary(list("abcd"))
    >>> encoder, features = keras_negrec.data.item_features(
    ...     items, vocabulary, numeric=["tempo"], categories={"tags": "|"}
    ... )
    >>> encoder.columns
    ['tempo', 'tempo missing', 'tags=calm', 'tags=old', 'tags other']
    >>> features.round(2)
    array([[-1.22,  0.  ,  1.  ,  1.  ,  0.  ],
           [ 0.  ,  0.  ,  1.  ,  0.  ,  0.  ],
           [ 0.  ,  1.  ,  1.  ,  0.  ,  1.  ],
           [ 1.22,  0.  ,  0.  ,  1.  ,  0.  ]], dtype=float32)
    """
    encoder = ItemFeatureEncoder.fit(source, vocabulary, missing_items=missing_items, **columns)
    features = encoder.transform(source, vocabulary, missing_items=missing_items)
    if folder is not None:
        encoder.save(Path(folder) / "item_features.json")
    return encoder, features


def _read(source: pd.DataFrame | str | Path) -> tuple[pd.DataFrame, str]:
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


def _column(table: pd.DataFrame, name: str, where: str) -> pd.Series:
    if name not in table.columns:
        raise ValueError(
            f"In {where}: column {name!r} is missing. Received columns: {list(table.columns)}"
        )
    return table[name]


def _refuse(values: pd.Series, wrong, expectation: str, where: str) -> None:
    """Raises about the first value that is wrong."""
    for row in np.flatnonzero(np.asarray(wrong, bool))[:1]:
        raise ValueError(
            f"In {where}, column {values.name!r}, row {values.index[row]}: {expectation}. "
            f"Received: {values.iloc[[row]].tolist()[0]!r}"
        )


def _rows_of(
    table: pd.DataFrame, item: str, vocabulary: Vocabulary, missing_items: str, where: str
) -> np.ndarray:
    """The row of each of the vocabulary's items, -1 where there is none."""
    check_choice("missing_items", missing_items, ("raise", "fill"))
    ids = _column(table, item, where)
    _refuse(ids, ids.isna(), "expected a value", where)
    once = "expected one row for each item, this one is there before"
    _refuse(ids, ids.duplicated(), once, where)
    items = ids.tolist()
    if where != "the DataFrame" and not vocabulary.is_string:  # The text of a file.
        items = [int(v) if isinstance(v, str) and v.isdigit() else v for v in items]
    kind, name = (str, "strings") if vocabulary.is_string else (numbers.Integral, "integers")
    wrong = [not isinstance(value, kind) or isinstance(value, bool) for value in items]
    _refuse(ids, wrong, f"the vocabulary's items are {name}", where)
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


def _numbers(table: pd.DataFrame, name: str, where: str) -> np.ndarray:
    """float64, NaN where missing."""
    values = _column(table, name, where)
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        text = values.astype(object)
        text = text.where(text != "", None)
        values = pd.to_numeric(text, errors="coerce")
        wrong = values.isna() & text.notna()
        wrong |= text.map(lambda value: isinstance(value, bool))
        _refuse(text, wrong, "expected a number", where)
    result = values.to_numpy("float64", na_value=np.nan)
    _refuse(values, np.isinf(result), "expected a finite number", where)
    return result


def _categories(table: pd.DataFrame, name: str, separator: str | None, where: str) -> pd.Series:
    """The categories of all rows, indexed by the number of the row: none, one, or several each."""
    cells = _column(table, name, where).astype(object).reset_index(drop=True)
    if separator is not None:
        cells = cells.map(lambda cell: cell.split(separator) if isinstance(cell, str) else cell)
    cells = cells.explode().dropna()
    texts = cells.map(_text)
    return texts[texts != ""]


def _text(cell) -> str:
    is_whole = isinstance(cell, float) and cell.is_integer()  # an integer, where some are missing
    return str(int(cell) if is_whole else cell).strip()
