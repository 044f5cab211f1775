"""What a smaller item table changes in the recommendations."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_negrec.data import Sessions
from keras_negrec.evaluation.top_columns import top_columns
from keras_negrec.serving.further_inputs import further_inputs
from keras_negrec.serving.item_table import ItemTable


def table_recall(model, table: ItemTable, k: int, *, num_histories: int = 256) -> float:
    """The share of the model's k best items that are also among the k best by `table`.

    Asked for histories of one kept item each, spread evenly over the vocabulary, the item itself
    left in. The histories are encoded with the model's own vectors.

    Args:
        model: a model of this package, on Keras's TensorFlow backend.
        table: `ItemTable` of its items.
        k: int. How many best items are compared.
        num_histories: int. At most so many.

    Returns:
        A share from 0 to 1, the mean over the histories.
    """
    num_items = model.num_items
    k = min(k, num_items)
    ids = np.unique(np.linspace(1, num_items, min(num_histories, num_items)).astype(int))
    exact = ItemTable(model.item_vectors().numpy())
    shares = []
    for some in np.array_split(ids, -(-len(ids) // 16)):  # 16 rows of scores at a time
        histories = Sessions.from_lists([[item] for item in some]).padded(model.max_length)
        histories = {name: tf.constant(values) for name, values in histories.items()}
        for column in further_inputs(model):
            histories[column.name] = tf.zeros(histories["item_ids"].shape, column.input_dtype)
        inputs = {name: histories[name] for name in model.serving_model.input}
        vectors = tf.cast(model.serving_model(inputs), tf.float32)
        best, best_of_table = (
            [top_columns(row, k) for row in scores.scores(vectors, 0, num_items).numpy()]
            for scores in (exact, table)
        )
        shares += [len(np.intersect1d(a, b)) / k for a, b in zip(best, best_of_table, strict=True)]
    return float(np.mean(shares))
