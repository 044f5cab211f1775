"""Features of items from a table beside the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_negrec.data.features.item_feature_encoder import ItemFeatureEncoder
from keras_negrec.data.vocabulary import Vocabulary


def item_features(
    source: pd.DataFrame | str | Path,
    vocabulary: Vocabulary,
    *,
    item: str = "item",
    numeric: Sequence[str] = (),
    categories: Sequence[str] | Mapping[str, str | None] = (),
    min_items: int = 2,
    max_categories: int = 500,
    missing_items: str = "raise",
    folder: str | Path | None = None,
) -> tuple[ItemFeatureEncoder, np.ndarray]:
    """Numbers that describe each item, made from the columns of a table.

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
            categories. `encoder.num_filled` tells how many.
        folder: where to store the encoder, as `item_features.json` beside the vocabulary, such as
            `prepared.folder`; None does not store it.

    Returns:
        The fitted `ItemFeatureEncoder`, whose `transform` gives later items the same features,
        and a float32 array of shape `(num_items, num_features)`, row `j` for item `j + 1`, for
        `build_model(item_features=...)`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column that is missing, no column at all, an item without a row or with two,
            a value that is no finite number in a numeric column, or a column without any value.

    Example:

    >>> items = pd.DataFrame({
    ...     "item": ["a", "b", "c", "d"],
    ...     "tempo": [90, 120, None, 150],
    ...     "tags": ["calm|old", "calm", "new|calm", "old"],
    ... })
    >>> encoder, features = keras_negrec.data.item_features(
    ...     items, keras_negrec.data.Vocabulary(["a", "b", "c", "d"]),
    ...     numeric=["tempo"], categories={"tags": "|"},
    ... )
    >>> encoder.columns
    ['tempo', 'tempo missing', 'tags=calm', 'tags=old', 'tags other']
    >>> features.round(2)
    array([[-1.22,  0.  ,  1.  ,  1.  ,  0.  ],
           [ 0.  ,  0.  ,  1.  ,  0.  ,  0.  ],
           [ 0.  ,  1.  ,  1.  ,  0.  ,  1.  ],
           [ 1.22,  0.  ,  0.  ,  1.  ,  0.  ]], dtype=float32)
    """
    encoder = ItemFeatureEncoder.fit(
        source,
        vocabulary,
        item=item,
        numeric=numeric,
        categories=categories,
        min_items=min_items,
        max_categories=max_categories,
        missing_items=missing_items,
    )
    features = encoder.transform(source, vocabulary, missing_items=missing_items)
    if folder is not None:
        encoder.save(Path(folder) / "item_features.json")
    return encoder, features
