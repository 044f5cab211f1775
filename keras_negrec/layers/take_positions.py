"""Picks positions of each sequence."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.layers.from_start import from_start


@keras.saving.register_keras_serializable(package="keras_negrec")
class TakePositions(keras.layers.Layer):
    """The given positions of each sequence of a batch.

    Working on these alone keeps what follows to where there is a target.

    Call arguments:
        inputs: float tensor of shape `(batch, length, dim)`.
        positions: int tensor of shape `(batch, num_positions)`, from 0 to `length - 1`; or from -1,
            the last, to `-length`, which count from the end. Others are not looked for, and give
            what is no part of the sequence.

    Returns:
        Tensor of shape `(batch, num_positions, dim)`.

    Example:

    >>> inputs = np.array([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]], "float32")
    >>> taken = keras_negrec.layers.TakePositions()(inputs, np.array([[0, -1], [1, 1]]))
    >>> np.asarray(taken)[..., 0].tolist()
    [[1.0, 3.0], [5.0, 5.0]]
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, positions):
        return take_positions(inputs, positions)

    def compute_mask(self, inputs, previous_mask=None):
        return None  # the positions that were picked are no sequence

    def compute_output_shape(self, inputs_shape, positions_shape):
        return (*positions_shape, inputs_shape[-1])


def take_positions(inputs, positions):
    """What the layer does, as a function."""
    batch, length = ops.shape(inputs)[:2]
    rows = ops.expand_dims(ops.arange(batch, dtype="int32") * length, -1)
    rows = rows + from_start(positions, length)
    return ops.take(ops.reshape(inputs, (-1, inputs.shape[-1])), rows, axis=0)
