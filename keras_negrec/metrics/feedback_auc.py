"""Feedback AUC while training."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.metrics.rank_metrics import update_flat


@keras.saving.register_keras_serializable(package="keras_negrec")
class FeedbackAUC(keras.metrics.Mean):
    """Share of a context's negatives whose similarity is below that of its positive, ties half.

    For the output `contrastive`, in `compile(weighted_metrics=...)` or `metrics`. The
    mean is over the contexts that have a positive and a negative; 0.5 is chance. Where there is
    none the result is 0.

    Args:
        name, dtype: as in Keras.

    Call arguments:
        y_true: tensor of the shape of `y_pred`: 1 for the positive, 0 for a negative, -1 for
            what is no candidate. At most one 1 a context.
        y_pred: float tensor of shape `(batch, contexts, candidates)`, similarities.
        sample_weight: optional, of shape `(batch, contexts)` or `(batch,)`.

    Example:

    >>> metric = keras_negrec.metrics.FeedbackAUC()
    >>> metric.update_state([[[1, 0, 0, -1]]], [[[0.5, 0.4, 0.5, 0.9]]])
    >>> float(metric.result())
    0.75
    """

    def __init__(self, name="feedback_auc", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.cast(y_pred, "float32")
        positive, negative = y_true == 1, y_true == 0
        own = ops.sum(ops.where(positive, y_pred, 0.0), axis=-1, keepdims=True)
        below = ops.where(y_pred < own, 1.0, ops.where(y_pred == own, 0.5, 0.0))
        num_negatives = ops.sum(ops.cast(negative, "float32"), axis=-1)
        value = ops.sum(ops.where(negative, below, 0.0), axis=-1) / ops.maximum(num_negatives, 1.0)
        counts = ops.logical_and(ops.any(positive, axis=-1), num_negatives > 0)
        return update_flat(super().update_state, value, ops.cast(counts, "float32"), sample_weight)
