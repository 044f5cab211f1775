"""Picks positions of each sequence."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_negrec")
class TakePositions(keras.layers.Layer):
    """The given positions of each sequence of a batch.

    Working on these alone keeps what follows to where there is a target.

    Call arguments:
        inputs: float tensor of shape `(batch, length, dim)`.
        positions: int tensor of shape `(batch, num_positions)`, from `-length` to `length - 1`;
            negative ones count from the end, -1 being the last. Others are not looked for.

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

    def get_config(self):
        return super().get_config()  # of its own, Keras makes none with a dtype policy


def take_positions(inputs, positions):
    """What the layer does, as a function."""
    batch, length = ops.shape(inputs)[:2]
    rows = ops.expand_dims(ops.arange(batch, dtype="int32") * length, -1)
    rows = rows + from_start(positions, length)
    return ops.take(ops.reshape(inputs, (-1, inputs.shape[-1])), rows, axis=0)


def from_start(positions, length):
    """The same positions in int32, counted from the start of sequences of `length`."""
    positions = ops.cast(positions, "int32")
    # Not the modulus, which ONNX files from TensorFlow round towards 0.
    return ops.where(positions < 0, positions + length, positions)
