"""Vectors of another kind made of given ones."""

import keras

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.layers.feedback_similarity import unit


@keras.saving.register_keras_serializable(package="keras_negrec")
class ProjectionHead(keras.layers.Layer):
    """A network of two dense layers, whose outputs have length 1.

    A loss on projected vectors can say what it wants of them without bending the vectors
    themselves into its shape.

    Args:
        dim: int. Width of the hidden layer and of the output.

    Call arguments:
        inputs: float tensor of shape `(..., input_dim)`.

    Returns:
        Float tensor of shape `(..., dim)`, of length 1 along the last axis.

    Raises:
        ValueError: `dim` not a positive integer.

    Example:

    >>> layer = keras_negrec.layers.ProjectionHead(4)
    >>> vectors = np.array(keras.ops.convert_to_numpy(layer(np.ones((2, 8)))))
    >>> np.linalg.norm(vectors, axis=-1).round(3)
    array([1., 1.], dtype=float32)

    Reference:
        [Chen et al., 2020](https://arxiv.org/abs/2002.05709)
    """

    def __init__(self, dim, **kwargs):
        super().__init__(**kwargs)
        self.dim = check_positive_int("dim", dim)
        self.hidden = keras.layers.Dense(
            dim, activation="gelu", dtype=self.dtype_policy, name="hidden"
        )
        self.dense = keras.layers.Dense(dim, dtype=self.dtype_policy, name="dense")

    def build(self, inputs_shape):
        self.hidden.build(inputs_shape)
        self.dense.build((*inputs_shape[:-1], self.dim))

    def call(self, inputs):
        return unit(self.dense(self.hidden(inputs)))

    def compute_output_shape(self, inputs_shape):
        return (*inputs_shape[:-1], self.dim)

    def get_config(self):
        return {**super().get_config(), "dim": self.dim}
