"""A transformer block whose sublayers are gated by what they are added to."""

import keras
from keras import ops

from keras_negrec.layers.swiglu import SwiGLU
from keras_negrec.layers.take_positions import take_positions
from keras_negrec.layers.transformer_block import TransformerBlock


@keras.saving.register_keras_serializable(package="keras_negrec")
class LiGRBlock(TransformerBlock):
    """Self-attention and a SwiGLU network, on normalized inputs, with learned gates.

    Each sublayer `f` gives `x + sigmoid(W x + b) * dropout(f(LN(x)))`: the gate sees `x` as it is.
    What comes last out of such blocks is to be normalized. Arguments, inputs and outputs are as for
    `TransformerBlock`; `intermediate_dim` is that of the `SwiGLU`.

    Example:

    >>> block = keras_negrec.layers.LiGRBlock(intermediate_dim=32, num_heads=2)
    >>> tuple(block(np.zeros((2, 5, 8))).shape)
    (2, 5, 8)

    Reference:
        [Borisyuk et al., 2025](https://arxiv.org/abs/2502.03417);
        [Tikhonovich et al., 2025](https://arxiv.org/abs/2508.06450) in SASRec
    """

    def _build_feedforward(self, width):
        self.feedforward = SwiGLU(
            self.intermediate_dim, dtype=self.dtype_policy, name="feedforward"
        )
        self.feedforward.build((None, width))
        self.attention_gate = self._dense(width, width, "attention_gate", "sigmoid")
        self.feedforward_gate = self._dense(width, width, "feedforward_gate", "sigmoid")

    def call(self, inputs, padding_mask=None, positions=None, training=None):
        shape = ops.shape(inputs)
        normed = self.attention_norm(ops.reshape(inputs, (-1, shape[-1])))
        outputs = inputs if positions is None else take_positions(inputs, positions)
        x = ops.reshape(outputs, (-1, shape[-1]))
        change = self._attend(normed, shape, padding_mask, positions, training)
        x = x + self.attention_gate(x) * self.sublayer_dropout(change, training=training)
        change = self.feedforward(self.feedforward_norm(x))
        x = x + self.feedforward_gate(x) * self.sublayer_dropout(change, training=training)
        return ops.reshape(x, ops.shape(outputs))
