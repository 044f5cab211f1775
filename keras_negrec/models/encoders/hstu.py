"""HSTU."""

from __future__ import annotations

import keras

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.layers import GatedAttention, TimeBuckets
from keras_negrec.layers.in_fewer_passes import Dropout, LayerNormalization
from keras_negrec.models.encoders.encoder import Encoder

_LAST_BUCKET = 128


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class HSTU(Encoder):
    """Gated attention that sees when each event was, and when the next item is asked for.

    Each block weighs events by similarity, by how many events ago they were and by how long ago.
    The model has the inputs `timestamps`, and `request_timestamps`, when the next item is asked
    for: in training and evaluation the time of the next event, and in a request what it says, else
    the time of the newest event. A request without any times is answered as if events were
    `default_gap` seconds apart. How the next event was received never enters.

    Differs from the paper in the objective, a softmax over the catalogue (full or sampled) without
    normalized vectors; in positions, relative ones alone unless `use_position_embedding`; and in a
    last layer normalization. Weights are over `max_length` in place of the length of the batch, so
    that padding changes nothing.

    Args:
        num_layers: int. Blocks.
        num_heads: int. Attention heads; must divide `embedding_dim`.
        use_time: bool. Whether the encoder sees times at all; without, the model has no such input.
        use_relative_positions: bool. Whether it sees how many events ago an event was.
        separate_channels: bool. Attend by similarity, position and time each on its own, as FuXi
            does, in place of their sum.
        intermediate_dim: int or None. Hidden units of the gated feed-forward network after each
            attention, which FuXi has; None for none, as in HSTU.
        default_gap: int. Seconds between events that have no times.
        **kwargs: arguments of `Encoder`.

    Example:

    >>> model = keras_negrec.build_model(keras_negrec.models.HSTU(), num_items=100)
    >>> sorted(model.input)
    ['item_ids', 'request_timestamps', 'target_positions', 'timestamps']

    Reference:
        [Zhai et al., 2024](https://arxiv.org/abs/2402.17152);
        [Ye et al., 2025](https://arxiv.org/abs/2502.03036) on FuXi
    """

    def __init__(
        self,
        *,
        num_layers=2,
        num_heads=2,
        use_time=True,
        use_relative_positions=True,
        separate_channels=False,
        intermediate_dim=None,
        default_gap=60,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_layers = check_positive_int("num_layers", num_layers)
        self.num_heads = check_positive_int("num_heads", num_heads)
        self.use_time = bool(use_time)
        self.use_relative_positions = bool(use_relative_positions)
        self.separate_channels = bool(separate_channels)
        self.intermediate_dim = intermediate_dim
        self.default_gap = check_positive_int("default_gap", default_gap)
        self.sees_time = self.sees_time or self.use_time

    def build(self, *, embedding_dim, max_length, dtype):
        self._dropout = Dropout(self.dropout, dtype=dtype, name="embedding_dropout")
        if self.use_time:
            self._time_buckets = TimeBuckets(
                _LAST_BUCKET, self.default_gap, dtype=dtype, name="time_buckets"
            )
        self._blocks = [
            GatedAttention(
                self.num_heads,
                max_length,
                use_positions=self.use_relative_positions,
                num_time_buckets=_LAST_BUCKET if self.use_time else None,
                separate_channels=self.separate_channels,
                intermediate_dim=self.intermediate_dim,
                dropout=self.dropout,
                dtype=dtype,
                name=f"gated_attention_{i}",
            )
            for i in range(self.num_layers)
        ]
        self._norm = LayerNormalization(epsilon=1e-6, dtype=dtype, name="last_norm")

    def encode(self, x, events, positions):
        x, mask = self._dropout(x), events["padding_mask"]
        times = [events["timestamps"], events["request_timestamps"]] if self.use_time else []
        buckets = self._time_buckets(*times) if times and self.num_layers > 1 else None
        for block in self._blocks[:-1]:
            x = block(x, mask, buckets)
        buckets = self._time_buckets(*times, positions) if times else None
        return self._norm(self._blocks[-1](x, mask, buckets, positions))
