"""Caser."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.layers import ConvolutionalSequenceEmbedding, TakePositions
from keras_negrec.layers.in_fewer_passes import Dropout, LayerNormalization
from keras_negrec.models.encoders.encoder import Encoder


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class Caser(Encoder):
    """Horizontal and vertical convolutions over the newest events.

    Window, filters and activations are the paper's. Differs from it in that there is no user
    vector, since a session has no user to learn one for; in the objective, a softmax in place of
    binary cross-entropy; in tied item vectors; and in one next item as the target, at every
    position, in place of the next few. Layer normalization before the convolutions and after the
    dense layer is ours, as in `GRU4Rec`.

    Args:
        window: int. How many of the newest events count.
        horizontal_filters: int. Filters of each height.
        vertical_filters: int.
        **kwargs: arguments of `Encoder`.

    Example:

    >>> model = keras_negrec.build_model(keras_negrec.models.Caser(window=3), num_items=100)
    >>> model.output["next_item"].shape
    (None, None, 100)

    Reference:
        [Tang & Wang, 2018](https://arxiv.org/abs/1809.07426)
    """

    def __init__(self, *, window=5, horizontal_filters=16, vertical_filters=4, **kwargs):
        super().__init__(**kwargs)
        self.window = window
        self.horizontal_filters = horizontal_filters
        self.vertical_filters = vertical_filters

    def build(self, *, embedding_dim, max_length, dtype):
        self._convolutions = ConvolutionalSequenceEmbedding(
            self.window,
            self.horizontal_filters,
            self.vertical_filters,
            dtype=dtype,
            name="convolutions",
        )
        self._input_norm, self._output_norm = (
            LayerNormalization(dtype=dtype, name=name) for name in ("input_norm", "output_norm")
        )
        self._dropout = Dropout(self.dropout, dtype=dtype, name="dropout")
        self._dense = keras.layers.Dense(
            embedding_dim, activation="relu", dtype=dtype, name="dense"
        )
        self._take_positions = TakePositions(dtype=dtype, name="take_positions")

    def encode(self, x, events, positions):
        x = self._input_norm(x) * ops.cast(ops.expand_dims(events["padding_mask"], -1), x.dtype)
        x = self._take_positions(self._convolutions(x), positions)
        return self._output_norm(self._dense(self._dropout(x)))
