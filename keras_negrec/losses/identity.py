"""A loss that the model has computed itself."""

import keras


@keras.saving.register_keras_serializable(package="keras_negrec")
class Identity(keras.losses.Loss):
    """Takes `y_pred` for the loss: for models whose output is a loss already.

    Args:
        reduction, name, dtype: as in Keras; the default is the mean weighted with `sample_weight`.

    Call arguments:
        y_true, y_pred, sample_weight: of one shape. `y_pred` is the losses; `y_true` is not used.

    Example:

    >>> loss = keras_negrec.losses.Identity()
    >>> float(loss(np.zeros((1, 2)), np.array([[0.5, 2.0]]), np.array([[1.0, 0.0]])))
    0.5
    """

    def __init__(self, reduction="mean_with_sample_weight", name="identity", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        return y_pred
