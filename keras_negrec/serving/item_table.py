"""The item table inside an export. TensorFlow only, like all that is exported."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_negrec.data import Sessions
from keras_negrec.evaluation.top_columns import top_columns
from keras_negrec.serving.further_inputs import further_inputs


class ItemTable(tf.Module):
    """Item vectors, stored as float32, float16, or int8 with one scale an item.

    Args:
        table: float32 `tf.Variable` or array of shape `(num_items, embedding_dim)`.
        dtype: `"float32"`, `"float16"` or `"int8"`. An int8 value is the float32 one divided by
            a 127th of the largest absolute value of its row, rounded.
    """

    def __init__(self, table, dtype: str = "float32"):
        super().__init__(name="item_table")
        self.num_items = int(table.shape[0])
        self.scales = None
        if dtype == "float32":
            is_variable = isinstance(table, tf.Variable)
            self.stored = table if is_variable else tf.Variable(table, trainable=False)
            return
        values = np.asarray(table, "float32")
        if dtype == "int8":
            scales = np.maximum(np.abs(values).max(axis=1), np.finfo("float32").tiny) / 127
            self.scales = tf.Variable(scales.astype("float32"), trainable=False)
            values = np.rint(values / scales[:, np.newaxis])
        self.stored = tf.Variable(values.astype(dtype), trainable=False)

    def rows(self, rows: tf.Tensor) -> tf.Tensor:
        """Vectors of the given rows, float32."""
        # A gather from a variable itself would make each later read of it a copy of the table.
        vectors = tf.cast(tf.gather(tf.convert_to_tensor(self.stored), rows), tf.float32)
        if self.scales is not None:
            vectors *= tf.gather(tf.convert_to_tensor(self.scales), rows)[..., tf.newaxis]
        return vectors

    def scores(self, vectors: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        """Products of `vectors` (batch, dim) with the rows from `start` up to `stop`."""
        table = tf.cast(self.stored[start:stop], tf.float32)
        scores = tf.matmul(vectors, table, transpose_b=True)
        if self.scales is not None:
            scores *= self.scales[start:stop]
        return scores


def table_recall(model, table: ItemTable, k: int, *, num_histories: int = 256) -> float:
    """The share of the model's k best items that are also among the k best by `table`.

    It is the mean over at most `num_histories` histories of one kept item each, spread evenly over
    the vocabulary, the item itself left in, and encoded with the model's own vectors.
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
