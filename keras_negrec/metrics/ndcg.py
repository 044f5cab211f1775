"""NDCG while training."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.metrics.rank_metric import RankMetric


@keras.saving.register_keras_serializable(package="keras_negrec")
class NDCG(RankMetric):
    """Mean of `1 / log2(1 + rank)` of the targets, 0 beyond rank `k`.

    Counts, weights and call arguments are those of `HitRate`: use it in
    `compile(weighted_metrics=...)`.

    Args:
        k: int. The cut-off.
        name: str. Default: `"ndcg@"` and `k`.
        dtype: as in Keras.

    Raises:
        ValueError: `k` not a positive integer.

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
