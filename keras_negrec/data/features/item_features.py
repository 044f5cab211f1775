"""From a table about items to the numbers that describe them, the same way every time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.atomic_write import atomic_write
from keras_negrec.data.features.feature_kinds import KINDS
from keras_negrec.data.features.item_table import read_table, rows_of
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
        text: Sequence[str] = (),
        max_word_pieces: int = 2000,
        missing_items: str = "raise",
    ) -> ItemFeatureEncoder:
        """Fits on the items of the vocabulary.

        Numbers are scaled to a mean of 0 and a deviation of 1; a missing one becomes 0, the mean,
        and sets an indicator of its own. A category becomes a feature that is 1 where the item has
        it; an item may have several, or none. Rare categories share one feature, "other". A text,
        such as a title, becomes a feature for each of its word pieces, which KerasHub learns from
        all texts (lower case, no accents); a model then learns a vector for each piece.

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
            text: names of columns of text. Missing ones are empty.
            max_word_pieces: int. About how many word pieces of a column are told apart.
            missing_items: `"raise"`, or `"fill"`: items without a row get missing numbers and no
                categories. After `transform`, `num_filled` tells how many.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a column that is missing or empty, or none; an item without a row or with
                two; a value that is no finite number or no text in a column of these.
        """
        for argument, given in {"numeric": numeric, "categories": categories, "text": text}.items():
            if isinstance(given, str):
                raise TypeError(f"`{argument}` takes several names. Received: {given!r}")
        limits = {"min_items": min_items, "max_categories": max_categories}
        for argument, number in {**limits, "max_word_pieces": max_word_pieces}.items():
            check_positive_int(argument, number)
        separators = categories if isinstance(categories, Mapping) else dict.fromkeys(categories)
        names = [*numeric, *separators, *text]
        if not names:
            raise ValueError(
                "`numeric`, `categories` or `text` must name a column. Received: none."
            )
        if len({item, *names}) <= len(names):
            raise ValueError(
                "A column is the item, a number, a category or a text, once. Received: "
                f"item={item!r}, numeric={list(numeric)}, categories={list(separators)}, "
                f"text={list(text)}"
            )
        table, where = read_table(source)
        rows = rows_of(table, item, vocabulary, missing_items, where)
        table = table.iloc[rows[rows >= 0]]
        parts: list[dict[str, Any]] = []

        def add(kind: str, name: str, **options: Any) -> None:
            fitted = KINDS[kind].fit(table, name, where, **options)
            parts.append({"kind": kind, "name": name} | fitted)

        for name in numeric:
            add("number", name)
        for name, separator in separators.items():
            add("category", name, separator=separator, **limits)
        for name in text:
            add("text", name, max_word_pieces=max_word_pieces)
        return cls(item, parts)

    @property
    def columns(self) -> list[str]:
        """The names of the features, such as `"year"`, `"year missing"` or `"genre=rock"`."""
        return [name for part in self._parts for name in KINDS[part["kind"]].names(part)]

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
        table, where = read_table(source)
        rows = rows_of(table, self.item, vocabulary, missing_items, where)
        found = np.flatnonzero(rows >= 0)
        self.num_filled = len(rows) - len(found)
        table = table.iloc[rows[found]]
        blocks = []
        for part in self._parts:
            kind = KINDS[part["kind"]]
            block = np.tile(np.array(kind.of_no_row(part)), (len(rows), 1))
            block[found] = kind.features(part, table, where)
            blocks.append(block)
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
        columns: `numeric`, `categories`, `text` and the others of `ItemFeatureEncoder.fit`.

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
