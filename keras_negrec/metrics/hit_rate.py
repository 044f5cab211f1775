"""Hit rate while training."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.metrics.rank_metric import RankMetric


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
