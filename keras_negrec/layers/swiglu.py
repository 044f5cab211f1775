"""A gated feed-forward network."""

import keras
from keras import ops

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.layers.built import dense


@keras.saving.register_keras_serializable(package="keras_negrec")
class SwiGLU(keras.layers.Layer):
    """A feed-forward network whose hidden units are gated: `W(SiLU(V x) * (U x))`.

    Args:
        intermediate_dim: int. Hidden units; `U` and `V` are one product.

    Call arguments:
        inputs: float tensor of shape `(..., dim)`, as is what is returned.

    Example:

    >>> tuple(keras_negrec.layers.SwiGLU(32)(np.zeros((2, 5, 8))).shape)
    (2, 5, 8)

    Reference:
        [Shazeer, 2020](https://arxiv.org/abs/2002.05202)
    """

    def __init__(self, intermediate_dim, **kwargs):
        super().__init__(**kwargs)
        self.intermediate_dim = check_positive_int("intermediate_dim", intermediate_dim)

    def build(self, inputs_shape):
        width = inputs_shape[-1]
        inner, policy = self.intermediate_dim, self.dtype_policy
        self.gate_and_value = dense(policy, width, 2 * inner, "gate_and_value")
        self.output_projection = dense(policy, inner, width, "output_projection")

    def call(self, inputs):
        gate, value = ops.split(self.gate_and_value(inputs), 2, axis=-1)
        return self.output_projection(ops.silu(gate) * value)

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def get_config(self):
        return {**super().get_config(), "intermediate_dim": self.intermediate_dim}
