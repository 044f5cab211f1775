"""What the metrics of the target's rank have in common."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.argument_checks import check_positive_int


class RankMetric(keras.metrics.Mean):
    """The mean over all targets of a function of the target's rank; 0 where none has weight.

    A rank is 1 plus the number of classes with a higher logit plus half the number of other
    classes with the same logit. Logits that are NaN count as higher. Subclasses say what a rank
    is worth in `value`.

    Args:
        k: int or None. The cut-off: a target beyond rank `k` is worth 0.
        name: str.
        dtype: as in Keras.
    """

    def __init__(self, k, name, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.k = None if k is None else check_positive_int("k", k)

    def value(self, rank):
        """What a rank is worth, a tensor of the shape of `rank`."""
        raise NotImplementedError(f"{type(self).__name__} does not say what a rank is worth.")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.convert_to_tensor(y_pred)
        y_true = ops.cast(y_true, "int32")
        if len(y_true.shape) < len(y_pred.shape):
            y_true = ops.expand_dims(y_true, -1)
        own = ops.take_along_axis(y_pred, y_true, axis=-1)  # (..., 1)
        above = ops.sum(ops.cast(ops.logical_not(y_pred <= own), "float32"), axis=-1)
        equal = ops.sum(ops.cast(y_pred == own, "float32"), axis=-1)
        rank = 1.0 + above + ops.maximum(equal - 1.0, 0.0) / 2.0
        value = self.value(rank)
        if self.k is not None:
            value = ops.where(rank <= self.k, value, 0.0)
        # Flat, because Keras's mean would give each batch of long rows less weight by target.
        if sample_weight is not None:
            weight = ops.cast(sample_weight, rank.dtype)
            while len(weight.shape) < len(rank.shape):
                weight = ops.expand_dims(weight, -1)
            sample_weight = ops.reshape(ops.broadcast_to(weight, ops.shape(rank)), (-1,))
        return super().update_state(ops.reshape(value, (-1,)), sample_weight)

    def get_config(self):
        return {**super().get_config(), "k": self.k}
