"""Pointwise gated attention, with positions and times."""

import keras
from keras import ops

from keras_negrec.argument_checks import check_fraction, check_length, check_positive_int
from keras_negrec.backend.table_rows import lookup_rows
from keras_negrec.layers.built import dense, norm
from keras_negrec.layers.in_fewer_passes import Dropout
from keras_negrec.layers.swiglu import SwiGLU
from keras_negrec.layers.take_positions import from_start, take_positions
from keras_negrec.layers.transformer_block import in_heads

_MASKED = -1e4  # SiLU of it is 0, and it fits in float16


@keras.saving.register_keras_serializable(package="keras_negrec")
class GatedAttention(keras.layers.Layer):
    """Causal attention by SiLU in place of a softmax, whose outcome is gated: a block of HSTU.

    With `x' = LN(x)` and `U, V, Q, K = SiLU(x' W)` it gives `x + W_o dropout(U * LN(A V))`, where
    `A = SiLU(Q K^T + p + t) / max_length`, `p` a learned number for each distance and `t` one for
    each bucket of time, and 0 for events that are later or padding. Weights do not add up to 1, so
    that the layer sees how much there was of something.

    With `separate_channels` similarity, positions and times each attend on their own:
    `A = [SiLU(Q K^T), p, t] / max_length`, and there are as many outcomes to normalize and to gate.

    Args:
        num_heads: int. Must divide the width of the inputs.
        max_length: int. The most events in a sequence.
        use_positions: bool. Whether there is `p`.
        num_time_buckets: int or None. The index of the last bucket of time; None for no `t`.
        separate_channels: bool. See above; needs positions or times.
        intermediate_dim: int or None. Hidden units of a `SwiGLU` that follows, on normalized
            inputs and with a residual, as in FuXi; None for none, as in HSTU.
        dropout: float from 0 up to but not including 1.

    Call arguments:
        inputs: float tensor of shape `(batch, length, embedding_dim)`.
        padding_mask: bool tensor of shape `(batch, length)`, True for events.
        time_buckets: int tensor as `TimeBuckets` gives it, with `num_time_buckets`.
        positions: optional int tensor of shape `(batch, num_positions)`, as for `TakePositions`:
            where outputs are wanted. Default: everywhere.

    Returns:
        Float tensor of the shape of `inputs`, or `(batch, num_positions, embedding_dim)`.

    Raises:
        ValueError: a width that `num_heads` does not divide; `separate_channels` with nothing to
            separate; a sequence longer than `max_length`.

    Example:

    >>> layer = keras_negrec.layers.GatedAttention(num_heads=2, max_length=5)
    >>> tuple(layer(np.zeros((2, 5, 8)), np.ones((2, 5), bool)).shape)
    (2, 5, 8)

    Reference:
        [Zhai et al., 2024](https://arxiv.org/abs/2402.17152);
        [Ye et al., 2025](https://arxiv.org/abs/2502.03036) on separate channels
    """

    def __init__(
        self,
        num_heads,
        max_length,
        use_positions=True,
        num_time_buckets=None,
        separate_channels=False,
        intermediate_dim=None,
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = check_positive_int("num_heads", num_heads)
        self.max_length = check_positive_int("max_length", max_length)
        self.use_positions = bool(use_positions)
        if num_time_buckets is not None:
            check_positive_int("num_time_buckets", num_time_buckets)
        self.num_time_buckets = num_time_buckets
        self.separate_channels = bool(separate_channels)
        num_biases = self.use_positions + (num_time_buckets is not None)
        if separate_channels and not num_biases:
            raise ValueError(
                "`separate_channels` needs positions or times. Received: use_positions=False, "
                "num_time_buckets=None"
            )
        self._num_channels = 1 + num_biases if separate_channels else 1
        if intermediate_dim is not None:
            check_positive_int("intermediate_dim", intermediate_dim)
        self.intermediate_dim = intermediate_dim
        self.dropout = check_fraction("dropout", dropout)

    def build(
        self,
        inputs_shape,
        padding_mask_shape=None,
        time_buckets_shape=None,
        positions_shape=None,
    ):
        width = inputs_shape[-1]
        if width % self.num_heads:
            raise ValueError(
                f"`num_heads` must divide the width of the inputs, {width}. "
                f"Received: num_heads={self.num_heads}"
            )
        small, policy = keras.initializers.TruncatedNormal(stddev=0.02), self.dtype_policy
        attended = self._num_channels * width
        self.input_norm = norm(policy, width, "norm")
        self.attended_norm = norm(policy, attended, "attended_norm")
        self.gate_value_query_key = dense(
            policy, width, attended + 3 * width, "gate_value_query_key"
        )
        self.output_projection = dense(policy, attended, width, "output_projection")
        self.output_dropout = Dropout(self.dropout, dtype=policy, name="dropout")
        if self.use_positions:
            self.position_bias = self.add_weight(
                (self.max_length,), small.clone(), name="position_bias"
            )
        if self.num_time_buckets is not None:
            self.time_bias = self.add_weight(
                (self.num_time_buckets + 1,), small.clone(), name="time_bias"
            )
        if self.intermediate_dim is not None:
            self.feedforward_norm = norm(policy, width, "feedforward_norm")
            self.feedforward = SwiGLU(self.intermediate_dim, dtype=policy, name="feedforward")
            self.feedforward.build((None, width))

    def call(self, inputs, padding_mask, time_buckets=None, positions=None, training=None):
        if (time_buckets is None) != (self.num_time_buckets is None):
            raise ValueError(
                "`time_buckets` and `num_time_buckets` go together. Received: "
                f"time_buckets={time_buckets}, num_time_buckets={self.num_time_buckets}"
            )
        check_length(inputs.shape, self.max_length)
        length, width = ops.shape(inputs)[1:]
        attended = self._num_channels * width
        x = ops.silu(self.gate_value_query_key(self.input_norm(inputs)))
        gate, value, query, key = ops.split(
            x, [attended, attended + width, attended + 2 * width], axis=-1
        )
        outputs, own = inputs, ops.arange(length, dtype="int32")
        if positions is not None:
            gate, query, outputs = (
                take_positions(each, positions) for each in (gate, query, inputs)
            )
            own = from_start(positions, length)
        # How many events ago; below 0 it is later.
        distance = ops.expand_dims(own, -1) - ops.arange(length, dtype="int32")
        counts = ops.logical_and(distance >= 0, ops.expand_dims(padding_mask, 1))
        counts = ops.expand_dims(counts, 1)  # (batch, 1, num_positions, length)
        biases = []
        if self.use_positions:
            bias = lookup_rows(self.position_bias, ops.maximum(distance, 0))
            biases.append(ops.expand_dims(bias, -3))
        if time_buckets is not None:
            biases.append(ops.expand_dims(lookup_rows(self.time_bias, time_buckets), 1))
        # What does not count is a bias, too: one pass less over what has the heads' shape.
        bias = ops.cast(ops.where(counts, 0.0, _MASKED), self.compute_dtype)
        weights = [ops.where(counts, each, 0.0) for each in biases if self.separate_channels]
        if not self.separate_channels:
            bias = sum(biases, bias)
        value = value / self.max_length
        query, key, value = (in_heads(each, self.num_heads) for each in (query, key, value))
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
        weights = [ops.silu(scores + bias), *weights]
        x = [self._side_by_side(ops.matmul(each, value), outputs) for each in weights]
        x = self.attended_norm(ops.concatenate(x, axis=-1) if len(x) > 1 else x[0])
        x = outputs + self.output_projection(self.output_dropout(gate * x, training=training))
        if self.intermediate_dim is not None:
            x = x + self.feedforward(self.feedforward_norm(x))
        return x

    def _side_by_side(self, x, outputs):
        """What `in_heads` has taken apart, in the shape of the outputs."""
        return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), ops.shape(outputs))

    def compute_output_shape(
        self,
        inputs_shape,
        padding_mask_shape=None,
        time_buckets_shape=None,
        positions_shape=None,
    ):
        return inputs_shape if positions_shape is None else (*positions_shape, inputs_shape[-1])

    def get_config(self):
        own = (
            "num_heads",
            "max_length",
            "use_positions",
            "num_time_buckets",
            "separate_channels",
            "intermediate_dim",
            "dropout",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
