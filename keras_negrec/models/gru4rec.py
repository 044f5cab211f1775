"""GRU4Rec."""

from __future__ import annotations

from typing import ClassVar

import keras

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.layers import TakePositions
from keras_negrec.layers.dropout import Dropout
from keras_negrec.models.session_recommender import SessionRecommender


@keras.saving.register_keras_serializable(package="keras_negrec")
class GRU4Rec(SessionRecommender):
    """A recurrent network: at every position the next item from the events up to it.

    As in the paper's later version, a softmax objective and tied item vectors. Differs from it
    in batches of whole sessions instead of session-parallel ones, in Adam instead of Adagrad, in
    units as many as `embedding_dim` (the item vectors are tied), and in the full softmax by
    default, where the paper samples (`num_sampled_negatives`, `sampling_distribution`, and
    `build_model(objective="bpr")` give its variants). There are no positions: the state knows.

    Inputs, outputs and arguments are those of `SessionRecommender`, and:

    Args:
        num_layers: int. Recurrent layers.

    Example:

    >>> model = keras_negrec.models.GRU4Rec(num_items=100, embedding_dim=8)
    >>> model.output["next_item"].shape
    (None, None, 100)

    Reference:
        [Hidasi et al., 2016](https://arxiv.org/abs/1511.06939);
        [Hidasi & Karatzoglou, 2018](https://arxiv.org/abs/1706.03847)
    """

    causal = True
    has_positions = False
    transform_predictions = False
    encoder_defaults: ClassVar[dict] = {"num_layers": 1}

    @staticmethod
    def build_encoder(embedding_dim, dropout, dtype, *, num_layers):
        check_positive_int("num_layers", num_layers)
        embedding_dropout = Dropout(dropout, dtype=dtype, name="embedding_dropout")
        recurrent = [
            keras.layers.GRU(embedding_dim, return_sequences=True, dtype=dtype, name=f"gru_{i}")
            for i in range(num_layers)
        ]
        dropouts = [Dropout(dropout, dtype=dtype, name=f"dropout_{i}") for i in range(num_layers)]

        take_positions = TakePositions(dtype=dtype, name="take_positions")

        def encode(x, padding_mask, positions):
            x = embedding_dropout(x)
            for gru, drop in zip(recurrent, dropouts, strict=True):
                x = drop(gru(x, mask=padding_mask))
            return take_positions(x, positions)

        return encode
