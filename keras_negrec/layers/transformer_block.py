"""One transformer block, causal or bidirectional."""

from __future__ import annotations

import keras
import keras_hub

from keras_negrec.argument_checks import check_fraction, check_positive_int


@keras.saving.register_keras_serializable(package="keras_negrec")
class TransformerBlock(keras.layers.Layer):
    """Self-attention and a feed-forward network, with residuals and layer normalization.

    Wraps `keras_hub.layers.TransformerDecoder` where `causal`, else
    `keras_hub.layers.TransformerEncoder` (which has no causal flag).

    Args:
        intermediate_dim: int. Width of the feed-forward network.
        num_heads: int. Must divide the width of the inputs.
        dropout: float from 0 up to but not including 1.
        activation: activation of the feed-forward network.
        causal: bool. Whether a position attends to itself and to earlier positions only.
        normalize_first: bool. Normalize the inputs of each sublayer (pre-norm) instead of the
            sum with its outputs (post-norm).

    Call arguments:
        inputs: float tensor of shape `(batch, length, embedding_dim)`.
        padding_mask: optional bool tensor of shape `(batch, length)`, True where there is an
            event: only these are attended to.

    Returns:
        A tensor of the shape and dtype of `inputs`.

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
        self,
        intermediate_dim,
        num_heads,
        dropout=0.0,
        activation="gelu",
        causal=True,
        normalize_first=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.intermediate_dim = check_positive_int("intermediate_dim", intermediate_dim)
        self.num_heads = check_positive_int("num_heads", num_heads)
        self.dropout = check_fraction("dropout", dropout)
        self.activation = keras.activations.get(activation)
        self.causal = causal
        self.normalize_first = normalize_first

    def build(self, inputs_shape, padding_mask_shape=None):
        if inputs_shape[-1] % self.num_heads:
            raise ValueError(
                f"`num_heads` must divide the width of the inputs, {inputs_shape[-1]}. "
                f"Received: num_heads={self.num_heads}"
            )
        block = (
            keras_hub.layers.TransformerDecoder
            if self.causal
            else (keras_hub.layers.TransformerEncoder)
        )
        self.block = block(
            intermediate_dim=self.intermediate_dim,
            num_heads=self.num_heads,
            dropout=self.dropout,
            activation=self.activation,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            normalize_first=self.normalize_first,
            dtype=self.dtype_policy,
            name="decoder" if self.causal else "encoder",
        )
        self.block.build(inputs_shape)

    def call(self, inputs, padding_mask=None, training=None):
        if self.causal:
            return self.block(inputs, decoder_padding_mask=padding_mask, training=training)
        return self.block(inputs, padding_mask=padding_mask, training=training)

    def compute_output_shape(self, inputs_shape, padding_mask_shape=None):
        return inputs_shape

    def get_config(self):
        config = super().get_config()
        config.update(
            intermediate_dim=self.intermediate_dim,
            num_heads=self.num_heads,
            dropout=self.dropout,
            activation=keras.activations.serialize(self.activation),
            causal=self.causal,
            normalize_first=self.normalize_first,
        )
        return config
