"""What an encoder learned and what was counted, as one ranking inside an exported graph."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_negrec.models.weighted_hybrid import WeightedHybrid


class Counted(NamedTuple):
    """What counts add to the scores of a batch: `values` to some items, `rest` to all of a row.

    `keys`, int64 `(n,)` and sorted, are of each value the row times `num_items` plus the 0-based
    item; `values` are float32 `(n,)`, `rest` `(batch, 1)`.
    """

    keys: tf.Tensor
    values: tf.Tensor
    rest: tf.Tensor
    num_items: int

    def between(self, start, stop) -> tf.Tensor:
        """For the items from `start` up to `stop`: `(batch, stop - start)`."""
        item = self.keys % self.num_items - tf.cast(start, tf.int64)
        width = tf.cast(stop - start, tf.int64)
        inside = (item >= 0) & (item < width)
        places = tf.stack([self.keys // self.num_items, item], axis=1)
        batch = tf.shape(self.rest, tf.int64)[0]
        return self.rest + tf.scatter_nd(
            tf.boolean_mask(places, inside), tf.boolean_mask(self.values, inside), [batch, width]
        )

    def of(self, items) -> tf.Tensor:
        """For 0-based items `(batch, m)` of each row: `(batch, m)`."""
        items = tf.cast(items, tf.int64)
        rows = tf.range(tf.shape(items, tf.int64)[0])[:, tf.newaxis]
        wanted = rows * self.num_items + items
        keys = tf.concat([self.keys, [-1]], axis=0)  # there may be none
        values = tf.concat([self.values, [0.0]], axis=0)
        last = tf.size(keys, tf.int64) - 1
        found = tf.searchsorted(self.keys, tf.reshape(wanted, [-1]), out_type=tf.int64)
        found = tf.reshape(tf.minimum(found, last), tf.shape(wanted))
        is_there = tf.gather(keys, found) == wanted
        return self.rest + tf.where(is_there, tf.gather(values, found), 0.0)


class HybridGraph(tf.Module):
    """The score of `WeightedHybrid`, of vectors and counts, without a pass over the catalogue.

    The scores of a vector `v` have the mean `v m` over the catalogue and the variance `v C v`, with
    `m` the mean and `C` the covariance of the item vectors.
    """

    def __init__(self, hybrid: WeightedHybrid):
        super().__init__(name="hybrid")
        trained, self._of_trained, counted, self._of_counted = hybrid.exported_parts()
        table = np.asarray(trained.item_vectors(), "float64")
        self._mean = tf.constant(table.mean(axis=0), tf.float32)
        self._covariance = tf.constant(
            np.cov(table.T, bias=True).reshape(2 * [table.shape[1]]), "float32"
        )
        self._decay, self._skip_weight = counted.decay, counted.skip_weight
        self.num_items = hybrid.num_items
        similar = counted.similarities

        def fixed(values, dtype):
            return tf.Variable(np.asarray(values, dtype), trainable=False)

        self._splits = fixed(similar.indptr, "int64")
        self._neighbors = fixed(similar.indices, "int64")
        self._similarities = fixed(similar.data, "float32")

    def __call__(self, vectors, item_ids, feedback) -> tuple[tf.Tensor, Counted]:
        """The vectors `(batch, dim)`, scaled, and what the counts add to their scores.

        `item_ids`, `(batch, n)`, are the whole histories, 0 where there is no event.
        """
        mean = tf.reduce_sum(vectors * self._mean, axis=1, keepdims=True)
        variance = tf.reduce_sum(tf.matmul(vectors, self._covariance) * vectors, 1, keepdims=True)
        spread = tf.sqrt(tf.maximum(variance, 0.0))
        scale = tf.math.divide_no_nan(self._of_trained, spread)
        keys, values = self._counts(item_ids, feedback)
        rows, batch = keys // self.num_items, tf.shape(item_ids)[0]
        sums, squares = (
            tf.math.unsorted_segment_sum(each, rows, batch)[:, tf.newaxis] / self.num_items
            for each in (values, values**2)
        )
        spread = tf.sqrt(tf.maximum(squares - sums**2, 0.0))
        counted = tf.math.divide_no_nan(self._of_counted, spread)
        rest = -scale * mean - counted * sums
        values *= tf.gather(counted[:, 0], rows)
        return vectors * scale, Counted(keys, values, rest, self.num_items)

    def _counts(self, item_ids, feedback) -> tuple[tf.Tensor, tf.Tensor]:
        """`ItemCooccurrence.score` where it is not 0: sorted keys as in `Counted`, and values."""
        known = item_ids > 0
        kept = known & (feedback > 0)
        age = tf.cumsum(tf.cast(kept, tf.float32), axis=1, exclusive=True, reverse=True)
        of_skipped = tf.where(known & (feedback < 0), self._skip_weight, 0.0)
        weights = tf.where(kept, 1.0, of_skipped) * self._decay**age
        events = tf.where(weights != 0)  # (row, column)
        item = tf.cast(tf.gather_nd(item_ids, events), tf.int64) - 1
        starts = tf.gather(tf.convert_to_tensor(self._splits), item)
        ends = tf.gather(tf.convert_to_tensor(self._splits), item + 1)
        places = tf.ragged.range(starts, ends)
        event, place = places.value_rowids(), places.flat_values
        values = tf.gather(tf.convert_to_tensor(self._similarities), place)
        values *= tf.gather(tf.gather_nd(weights, events), event)
        keys = tf.gather(events[:, 0], event) * self.num_items
        keys += tf.gather(tf.convert_to_tensor(self._neighbors), place)
        order = tf.argsort(keys)
        keys, group = tf.unique(tf.gather(keys, order))  # which stay in order
        return keys, tf.math.unsorted_segment_sum(tf.gather(values, order), group, tf.size(keys))
