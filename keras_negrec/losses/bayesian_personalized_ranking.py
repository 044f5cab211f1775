"""The pairwise loss of Bayesian personalized ranking."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_negrec")
class BayesianPersonalizedRanking(keras.losses.Loss):
    """Wants the target above each sampled negative.

    For a target with logit `s_0` and N negatives with logits `s_1 .. s_N`:

        loss = -(1 / N) * sum over n of log(sigmoid(s_0 - s_n))

    A negative that must not count, such as an accidental hit, is given a very low logit, as
    `SampledLogits` does: its term is then 0, and N does not change. Computed in float32.

    Args:
        reduction, name, dtype: as in Keras; the default is the mean weighted with `sample_weight`.

    Call arguments:
        y_true: tensor of shape `y_pred.shape[:-1]`. Not used: the target is always class 0.
        y_pred: float tensor of shape `(..., 1 + num_negatives)`, logits, the target in column 0.
        sample_weight: optional, of the shape of `y_true`.

    Raises:
        ValueError: `y_pred` without a column for any negative.

    Example:

    >>> loss = keras_negrec.losses.BayesianPersonalizedRanking()
    >>> float(loss(np.array([0]), np.array([[2.0, 2.0, 2.0]])))
    0.693147...

    Reference:
        [Rendle et al., 2009](https://arxiv.org/abs/1205.2618)
    """

    def __init__(
        self, reduction="mean_with_sample_weight", name="bayesian_personalized_ranking", dtype=None
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        if y_pred.shape[-1] is not None and y_pred.shape[-1] < 2:
            raise ValueError(
                "`y_pred` must have shape (..., 1 + num_negatives), with at least one negative. "
                f"Received: shape {tuple(y_pred.shape)}"
            )
        logits = ops.cast(y_pred, "float32")
        # -log(sigmoid(x)) is softplus(-x), which does not overflow.
        return ops.mean(ops.softplus(logits[..., 1:] - logits[..., :1]), axis=-1)
