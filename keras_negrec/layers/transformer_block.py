"""One transformer block, causal or bidirectional."""

import keras
from keras import ops

from keras_negrec.argument_checks import check_fraction, check_positive_int
from keras_negrec.layers.built import dense, norm
from keras_negrec.layers.in_fewer_passes import Dropout, gelu
from keras_negrec.layers.take_positions import from_start, take_positions

# Added to scores of positions that are not attended to. Where all earlier ones are padding, later
# ones must still count for less.
_PADDING, _LATER = -1e9, -2e9


@keras.saving.register_keras_serializable(package="keras_negrec")
class TransformerBlock(keras.layers.Layer):
    """Self-attention and a feed-forward network with GELU, residuals and layer normalization.

    The sum of a sublayer's inputs and outputs is normalized (post-norm). Computes what KerasHub's
    `TransformerDecoder` does where `causal`, else what its `TransformerEncoder` does, in fewer
    operations. Attention is computed in float32.

    Args:
        intermediate_dim: int. Width of the feed-forward network.
        num_heads: int. Must divide the width of the inputs.
        dropout: float from 0 up to but not including 1.
        causal: bool. Whether a position attends to itself and to earlier positions only.
        rotary: bool. Whether queries and keys are turned by their positions, by KerasHub's
            `RotaryEmbedding`, so that attention sees how far apart events are; the width of a head
            must then be even.

    Call arguments:
        inputs: float tensor of shape `(batch, length, embedding_dim)`.
        padding_mask: optional bool tensor of shape `(batch, length)`, True for events, which alone
            are attended to. Masks that Keras attaches to inputs are not read.
        positions: optional int tensor of shape `(batch, num_positions)`, as for `TakePositions`:
            where outputs are wanted. Most of the work is done there alone. Default: everywhere.

    Returns:
        A tensor of the layer's compute dtype and of the shape of `inputs`, or with `positions` of
        shape `(batch, num_positions, embedding_dim)`.

    Raises:
        ValueError: a width that `num_heads` does not divide.

    Example:

    >>> block = keras_negrec.layers.TransformerBlock(intermediate_dim=32, num_heads=2)
    >>> tuple(block(np.zeros((2, 5, 8))).shape)
    (2, 5, 8)

    Reference:
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)
    """

    def __init__(
        self, intermediate_dim, num_heads, dropout=0.0, causal=True, rotary=False, **kwargs
    ):
        super().__init__(**kwargs)
        self.intermediate_dim = check_positive_int("intermediate_dim", intermediate_dim)
        self.num_heads = check_positive_int("num_heads", num_heads)
        self.dropout = check_fraction("dropout", dropout)
        self.causal = causal
        self.rotary = bool(rotary)

    def build(self, inputs_shape, padding_mask_shape=None, positions_shape=None):
        width = inputs_shape[-1]
        if width % self.num_heads:
            raise ValueError(
                f"`num_heads` must divide the width of the inputs, {width}. "
                f"Received: num_heads={self.num_heads}"
            )

        if self.rotary:
            from keras_hub.layers import RotaryEmbedding  # takes seconds to load

            self.rotary_embedding = RotaryEmbedding(dtype=self.dtype_policy, name="rotary")
        self.query_key_value = self._dense(width, 3 * width, "query_key_value")
        self.attention_output = self._dense(width, width, "attention_output")
        self._build_feedforward(width)
        self.attention_norm = norm(self.dtype_policy, width, "attention_norm", 1e-5)
        self.feedforward_norm = norm(self.dtype_policy, width, "feedforward_norm", 1e-5)
        self.attention_dropout, self.sublayer_dropout = (
            Dropout(self.dropout, dtype=self.dtype_policy, name=name)
            for name in ("attention_dropout", "sublayer_dropout")
        )

    def _dense(self, inputs_width, units, name, activation=None):
        return dense(self.dtype_policy, inputs_width, units, name, activation)

    def _build_feedforward(self, width):
        self.intermediate = self._dense(width, self.intermediate_dim, "intermediate", gelu)
        self.feedforward_output = self._dense(self.intermediate_dim, width, "feedforward_output")

    def call(self, inputs, padding_mask=None, positions=None, training=None):
        shape = ops.shape(inputs)
        # In two dimensions: TensorFlow fuses a product of matrices with what is added to it.
        x = ops.reshape(inputs, (-1, shape[-1]))
        outputs = inputs if positions is None else take_positions(inputs, positions)
        residual = ops.reshape(outputs, (-1, shape[-1]))
        x = self._attend(x, shape, padding_mask, positions, training)
        x = self.attention_norm(residual + self.sublayer_dropout(x, training=training))
        change = self.feedforward_output(self.intermediate(x))
        x = self.feedforward_norm(x + self.sublayer_dropout(change, training=training))
        return ops.reshape(x, ops.shape(outputs))

    def _attend(self, x, shape, padding_mask, positions, training):
        batch, length, width = shape
        query_key_value = ops.reshape(self.query_key_value(x), (batch, length, 3 * width))
        query, key, value = ops.split(query_key_value, 3, axis=-1)
        if self.rotary:
            query, key = self._turned(query), self._turned(key)
        if positions is not None:
            query = take_positions(query, positions)
        query, key, value = (in_heads(each, self.num_heads) for each in (query, key, value))
        head_dim = width // self.num_heads
        scores = ops.matmul(query * head_dim**-0.5, ops.transpose(key, (0, 1, 3, 2)))
        bias = self._bias(length, padding_mask, positions)
        weights = ops.cast(ops.softmax(ops.cast(scores, "float32") + bias), self.compute_dtype)
        weights = self.attention_dropout(weights, training=training)
        attended = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
        return self.attention_output(ops.reshape(attended, (-1, width)))

    def _turned(self, x):
        batch, n, width = ops.shape(x)
        heads = ops.reshape(x, (batch, n, self.num_heads, width // self.num_heads))
        return ops.reshape(self.rotary_embedding(heads), (batch, n, width))

    def _bias(self, length, padding_mask, positions):
        """What is added to the scores of shape `(batch, num_heads, num_positions, length)`."""
        bias = 0.0
        if self.causal:
            position = own = ops.arange(length, dtype="int32")
            if positions is not None:
                own = ops.expand_dims(from_start(positions, length), 1)
            bias = ops.where(position > ops.expand_dims(own, -1), _LATER, 0.0)
        if padding_mask is not None:
            bias = bias + ops.expand_dims(ops.where(padding_mask, 0.0, _PADDING), (1, 2))
        return bias

    def compute_output_shape(self, inputs_shape, padding_mask_shape=None, positions_shape=None):
        return inputs_shape if positions_shape is None else (*positions_shape, inputs_shape[-1])

    def get_config(self):
        own = ("intermediate_dim", "num_heads", "dropout", "causal", "rotary")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def in_heads(x, num_heads):
    """From shape `(batch, n, width)` to `(batch, num_heads, n, width / num_heads)`."""
    batch, n, width = ops.shape(x)
    return ops.transpose(ops.reshape(x, (batch, n, num_heads, width // num_heads)), (0, 2, 1, 3))
