"""Metrics of the target's rank while training."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.argument_checks import check_positive_int


class RankMetric(keras.metrics.Mean):
    """The mean over all targets of a function of the target's rank; 0 where none has weight.

    A rank is 1 plus the number of classes with a higher logit plus half the number of other
    classes with the same logit. Logits that are NaN count as higher.
    """

    def __init__(self, k, name, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.k = None if k is None else check_positive_int("k", k)

    def value(self, rank):
        """What a rank is worth up to the cut-off, a tensor of the shape of `rank`."""
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
        return update_flat(super().update_state, value, ops.ones_like(rank), sample_weight)

    def get_config(self):
        return {**super().get_config(), "k": self.k}


def update_flat(update_state, values, weights, sample_weight):
    """Updates a mean with one value a target.

    Flat, because Keras's mean would give each batch of long rows less weight by target.
    """
    if sample_weight is not None:
        sample_weight = ops.cast(sample_weight, "float32")
        while len(sample_weight.shape) < len(weights.shape):
            sample_weight = ops.expand_dims(sample_weight, -1)
        weights = weights * sample_weight
    return update_state(ops.reshape(values, (-1,)), ops.reshape(weights, (-1,)))


@keras.saving.register_keras_serializable(package="keras_negrec")
class HitRate(RankMetric):
    """Share of the targets that are among the first `k` of the classes.

    For the output `next_item`, in `compile(weighted_metrics=...)`: slots without a target have
    weight 0 there, while under `metrics=` Keras passes no weights and such slots count as
    targets. Ties count half, and seen items compete. With sampled softmax the classes are the
    target and the sampled negatives, and the metric is no figure of the catalogue. Where no
    target has weight the result is 0.

    Args:
        k: int. The cut-off.
        name: str. Default: `"hr@"` and `k`.
        dtype: as in Keras.

    Call arguments:
        y_true: int tensor of shape `(batch, targets)` or `(batch, targets, 1)`, class indices.
        y_pred: float tensor of shape `(batch, targets, classes)`, logits.
        sample_weight: optional, of shape `(batch, targets)` or `(batch,)`.

    Raises:
        ValueError: `k` not a positive integer.

    Example:

    >>> metric = keras_negrec.metrics.HitRate(k=1)
    >>> metric.update_state([[0, 1]], [[[0.9, 0.1], [0.8, 0.2]]])
    >>> float(metric.result())
    0.5
    """

    def __init__(self, k=10, name=None, dtype=None):
        k = check_positive_int("k", k)
        super().__init__(k, name or f"hr@{k}", dtype)

    def value(self, rank):
        return ops.ones_like(rank)


@keras.saving.register_keras_serializable(package="keras_negrec")
class NDCG(RankMetric):
    """Mean of `1 / log2(1 + rank)` of the targets, 0 beyond rank `k`; all else as in `HitRate`.

    Example:

    >>> metric = keras_negrec.metrics.NDCG(k=3)
    >>> metric.update_state([[2]], [[[0.9, 0.8, 0.7]]])
    >>> float(metric.result())
    0.5

    Reference:
        [Järvelin & Kekäläinen, 2002](https://doi.org/10.1145/582415.582418)
    """

    def __init__(self, k=10, name=None, dtype=None):
        k = check_positive_int("k", k)
        super().__init__(k, name or f"ndcg@{k}", dtype)

    def value(self, rank):
        return 1.0 / ops.log2(1.0 + rank)


@keras.saving.register_keras_serializable(package="keras_negrec")
class MRR(RankMetric):
    """Mean of `1 / rank` of the targets, 0 beyond rank `k` if it is not None; else as `HitRate`.

    Example:

    >>> metric = keras_negrec.metrics.MRR()
    >>> metric.update_state([[0, 2]], [[[0.9, 0.8, 0.7, 0.6]] * 2])
    >>> round(float(metric.result()), 4)
    0.6667
    """

    def __init__(self, k=None, name=None, dtype=None):
        super().__init__(k, name or ("mrr" if k is None else f"mrr@{k}"), dtype)

    def value(self, rank):
        return 1.0 / rank
