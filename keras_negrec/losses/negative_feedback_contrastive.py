"""The contrastive negative-feedback loss."""

import keras
from keras import ops

from keras_negrec.argument_checks import check_positive_float


@keras.saving.register_keras_serializable(package="keras_negrec")
class NegativeFeedbackContrastive(keras.losses.Loss):
    """Pulls a context towards the item kept next and away from the session's skipped items.

    For a context `i` with positive `p`, negatives `N` and temperature `t`:

        loss(i) = -log(exp(s(i, p) / t) / (exp(s(i, p) / t) + sum over n in N of exp(s(i, n) / t)))

    with `s` the similarities in `y_pred`, cosines as a rule. Contexts without a positive or
    without any negative have no loss. A batch of these has loss 0. Computed in float32.

    Args:
        temperature: float above 0.
        **kwargs: `reduction` and `dtype` as in Keras. The default is the mean over contexts that
            have a loss, weighted with `sample_weight`; `"sum_over_batch_size"` is over all.

    Call arguments:
        y_true: tensor of the shape of `y_pred`: 1 for the positive, 0 for a negative, -1 for
            what is no candidate (padding, other items, other sessions). At most one 1 a context.
        y_pred: float tensor of shape `(..., num_candidates)`, similarities.
        sample_weight: optional, of the shape `y_pred.shape[:-1]` or broadcast to it.

    Raises:
        ValueError: a temperature that is not above 0.

    Example:

    >>> loss = keras_negrec.losses.NegativeFeedbackContrastive(temperature=0.1)
    >>> float(loss(np.array([[1, 0, -1]]), np.array([[0.5, 0.5, 0.9]])))
    0.693147...

    Reference:
        [Seshadri & Knees, 2023](https://arxiv.org/abs/2309.11623)
    """

    def __init__(self, temperature=0.1, name="negative_feedback_contrastive", **kwargs):
        super().__init__(name, **{"reduction": "mean_with_sample_weight", **kwargs})
        self.temperature = check_positive_float("temperature", temperature)

    def __call__(self, y_true, y_pred, sample_weight=None):
        y_true = ops.convert_to_tensor(y_true)
        weight = ops.cast(_has_loss(y_true), self.dtype)
        if sample_weight is not None:
            sample_weight = ops.cast(sample_weight, self.dtype)
            while len(sample_weight.shape) < len(weight.shape):
                sample_weight = ops.expand_dims(sample_weight, -1)
            weight = weight * sample_weight
        return super().__call__(y_true, y_pred, sample_weight=weight)

    def call(self, y_true, y_pred):
        logits = ops.cast(y_pred, "float32") / self.temperature
        # Contexts without a loss get one finite logit, to keep NaN out of their gradient.
        masked = ops.where(y_true != -1, logits, -1e9)
        positive_logit = ops.sum(ops.where(y_true == 1, logits, 0.0), axis=-1)
        losses = ops.logsumexp(masked, axis=-1) - positive_logit
        return ops.where(_has_loss(y_true), losses, 0.0)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


def _has_loss(labels):
    return ops.logical_and(ops.any(labels == 1, axis=-1), ops.any(labels == 0, axis=-1))
