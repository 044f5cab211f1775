"""Turns a history into the question a cloze model answers."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.argument_checks import check_positive_int


@keras.saving.register_keras_serializable(package="keras_negrec")
class AppendMaskToken(keras.layers.Layer):
    """Puts a new last event in place of the oldest: the item to be predicted.

    Args:
        fill: int. The value of the new event; None repeats the last one.

    Call arguments:
        inputs: int tensor of shape `(batch, length)`.

    Returns:
        Int tensor of shape `(batch, length)`.

    Example:

    >>> layer = keras_negrec.layers.AppendMaskToken(fill=101)
    >>> np.asarray(layer(np.array([[0, 5, 7]]))).tolist()
    [[5, 7, 101]]
    """

    def __init__(self, fill=None, **kwargs):
        super().__init__(**kwargs)
        self.fill = fill if fill in (None, 0) else check_positive_int("fill", fill)

    def call(self, inputs):
        last = inputs[:, -1:]
        new = last if self.fill is None else ops.full_like(last, self.fill)
        return ops.concatenate([inputs[:, 1:], new], axis=1)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def get_config(self):
        config = super().get_config()
        config.update(fill=self.fill)
        return config
