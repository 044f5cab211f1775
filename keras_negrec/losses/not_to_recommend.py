"""The not-to-recommend loss."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_negrec")
class NotToRecommend(keras.losses.Loss):
    """Lowers the probability of the items that were skipped: `-log(1 - p(skipped | context))`.

    With `p` the softmax of the logits in `y_pred`, computed in float32, so that it stays exact
    however close `p` is to 1. The gradient of a logit is of the size of `p`: the term acts on items
    that the model would recommend, and hardly on the others. Its weight may well be above 1.

    Args:
        reduction, name, dtype: as in Keras; the default is the mean weighted with `sample_weight`.

    Call arguments:
        y_true: int tensor of shape `y_pred.shape[:-1]`: the class that was skipped.
        y_pred: float tensor of shape `(..., num_classes)`, logits of at least 2 classes.
        sample_weight: optional, of the shape of `y_true`: 0 where nothing was skipped.

    Example:

    >>> loss = keras_negrec.losses.NotToRecommend()
    >>> float(loss(np.array([0]), np.array([[0.0, 0.0]])))
    0.693147...

    Reference:
        [Wang et al., 2023](https://arxiv.org/abs/2308.12256)
    """

    def __init__(self, reduction="mean_with_sample_weight", name="not_to_recommend", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        logits = ops.cast(y_pred, "float32")
        y_true = ops.cast(y_true, "int32")
        if len(y_true.shape) < len(logits.shape):
            y_true = ops.expand_dims(y_true, -1)
        skipped = ops.equal(ops.arange(logits.shape[-1], dtype="int32"), y_true)
        # log(1 - p_j) is the log-sum-exp of all logits but `j` less that of all.
        others = ops.where(skipped, -1e9, logits)
        return ops.logsumexp(logits, axis=-1) - ops.logsumexp(others, axis=-1)
