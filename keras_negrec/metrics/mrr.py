"""Mean reciprocal rank while training."""

from __future__ import annotations

import keras

from keras_negrec.metrics.rank_metric import RankMetric


@keras.saving.register_keras_serializable(package="keras_negrec")
class MRR(RankMetric):
    """Mean of `1 / rank` of the targets, 0 beyond rank `k` where there is one.

    Counts, weights and call arguments are those of `HitRate`: use it in
    `compile(weighted_metrics=...)`.

    Args:
        k: int or None. The cut-off.
        name: str. Default: `"mrr"`, with a cut-off `"mrr@"` and `k`.
        dtype: as in Keras.

    Raises:
        ValueError: `k` neither None nor a positive integer.

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
