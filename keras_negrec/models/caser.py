"""Caser."""

from __future__ import annotations

from typing import ClassVar

import keras
from keras import ops

from keras_negrec.layers import ConvolutionalSequenceEmbedding, TakePositions
from keras_negrec.layers.dropout import Dropout
from keras_negrec.models.session_recommender import SessionRecommender


@keras.saving.register_keras_serializable(package="keras_negrec")
class Caser(SessionRecommender):
    """Horizontal and vertical convolutions over the newest events.

    Window, filters and activations are the paper's. Differs from it in that there is no user
    vector, since a session has no user to learn one for; in the objective, a softmax in place of
    binary cross-entropy; in tied item vectors; and in one next item as the target, at every
    position, in place of the next few.

    Inputs, outputs and arguments are those of `SessionRecommender`, and:

    Args:
        window: int. How many of the newest events count.
        horizontal_filters: int. Filters of each height.
        vertical_filters: int.

    Example:

    >>> model = keras_negrec.models.Caser(num_items=100, embedding_dim=8)
    >>> model.output["next_item"].shape
    (None, None, 100)

    Reference:
        [Tang & Wang, 2018](https://arxiv.org/abs/1809.07426)
    """

    causal = True
    has_positions = False
    transform_predictions = False
    encoder_defaults: ClassVar[dict] = {
        "window": 5,
        "horizontal_filters": 16,
        "vertical_filters": 4,
    }

    @staticmethod
    def build_encoder(
        embedding_dim, dropout, dtype, *, window, horizontal_filters, vertical_filters
    ):
        convolutions = ConvolutionalSequenceEmbedding(
            window, horizontal_filters, vertical_filters, dtype=dtype, name="convolutions"
        )
        drop = Dropout(dropout, dtype=dtype, name="dropout")
        dense = keras.layers.Dense(embedding_dim, activation="relu", dtype=dtype, name="dense")

        take_positions = TakePositions(dtype=dtype, name="take_positions")

        def encode(x, padding_mask, positions):
            x = x * ops.cast(ops.expand_dims(padding_mask, -1), x.dtype)
            return dense(drop(take_positions(convolutions(x), positions)))

        return encode
