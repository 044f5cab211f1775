"""The item table inside an export. TensorFlow only, like all that is exported."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


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
