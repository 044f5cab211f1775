"""SASRec."""

from __future__ import annotations

from typing import ClassVar

import keras

from keras_negrec.models.session_recommender import SessionRecommender
from keras_negrec.models.transformer_encoder import transformer_encoder


@keras.saving.register_keras_serializable(package="keras_negrec")
class SASRec(SessionRecommender):
    """Causal self-attention: at every position the next item from the events up to it.

    Differs from the paper in the objective, softmax over the catalogue (full or sampled) in
    place of binary cross-entropy with one negative, which is known to rank better. As in the
    paper the encoder's outputs are the prediction vectors.

    Inputs, outputs and arguments are those of `SessionRecommender`, and:

    Args:
        num_layers: int. Transformer blocks.
        num_heads: int. Attention heads; must divide `embedding_dim`.
        intermediate_dim: int or None. Width of the feed-forward networks; None is 4 times
            `embedding_dim`.

    Example:

    >>> model = keras_negrec.models.SASRec(num_items=100, embedding_dim=8)
    >>> model.output["next_item"].shape
    (None, None, 100)

    Reference:
        [Kang & McAuley, 2018](https://arxiv.org/abs/1808.09781);
        [Klenitskiy & Vasilev, 2023](https://arxiv.org/abs/2309.07602) on the objective.
    """

    causal = True
    transform_predictions = False
    has_positions = True
    encoder_defaults: ClassVar[dict] = {"num_layers": 2, "num_heads": 2, "intermediate_dim": None}

    @staticmethod
    def build_encoder(embedding_dim, dropout, dtype, **encoder_options):
        return transformer_encoder(embedding_dim, dropout, dtype, causal=True, **encoder_options)
