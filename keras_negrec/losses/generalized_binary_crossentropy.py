"""gBCE, binary cross-entropy corrected for negative sampling."""

import keras
from keras import ops

from keras_negrec.argument_checks import check_positive_float


@keras.saving.register_keras_serializable(package="keras_negrec")
class GeneralizedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy of the target against sampled negatives, without its overconfidence.

    For the logit `s` of the target and `n_1 .. n_N` of the negatives:

        loss = -(beta * log(sigmoid(s)) + sum over i of log(1 - sigmoid(n_i))) / (N + 1)
        beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)

    Calibration 0 is ordinary binary cross-entropy; calibration 1 makes the sigmoid estimate the
    probability as it would without sampling. It wants negatives that are drawn uniformly, and no
    logQ correction. Computed in float32.

    Args:
        sampling_rate: float above 0 and at most 1 (alpha): negatives over items less one.
        calibration: float from 0 to 1 (`t` in the paper).
        **kwargs: as for `BayesianPersonalizedRanking`.

    Call arguments:
        y_true, y_pred, sample_weight: as for `BayesianPersonalizedRanking`.

    Raises:
        ValueError: a sampling rate or calibration outside of its range.

    Example:

    >>> loss = keras_negrec.losses.GeneralizedBinaryCrossentropy(sampling_rate=0.5)
    >>> float(loss(np.array([0]), np.array([[0.0, 0.0]])))
    0.563...

    Reference:
        [Petrov & Macdonald, 2023](https://arxiv.org/abs/2308.07192)
    """

    def __init__(
        self, sampling_rate, calibration=0.75, name="generalized_binary_crossentropy", **kwargs
    ):
        super().__init__(name, **{"reduction": "mean_with_sample_weight", **kwargs})
        self.sampling_rate = check_positive_float("sampling_rate", sampling_rate)
        if self.sampling_rate > 1:
            raise ValueError(f"`sampling_rate` must be at most 1. Received: {sampling_rate=}")
        is_number = isinstance(calibration, int | float) and not isinstance(calibration, bool)
        if not is_number or not 0 <= calibration <= 1:
            raise ValueError(f"`calibration` must be from 0 to 1. Received: {calibration=}")
        self.calibration = float(calibration)

    def call(self, y_true, y_pred):
        logits = ops.cast(y_pred, "float32")
        alpha = self.sampling_rate
        beta = alpha * (self.calibration * (1 - 1 / alpha) + 1 / alpha)
        target = beta * ops.softplus(-logits[..., 0])
        num_logits = ops.cast(ops.shape(logits)[-1], "float32")
        return (target + ops.sum(ops.softplus(logits[..., 1:]), axis=-1)) / num_logits

    def get_config(self):
        own = {"sampling_rate": self.sampling_rate, "calibration": self.calibration}
        return {**super().get_config(), **own}
