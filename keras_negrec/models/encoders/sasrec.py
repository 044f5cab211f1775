"""SASRec."""

from __future__ import annotations

import keras

from keras_negrec.models.encoders.transformer_encoder import TransformerEncoder


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class SASRec(TransformerEncoder):
    """Causal self-attention: at every position the next item from the events up to it.

    Differs from the paper in the objective, softmax over the catalogue (full or sampled) in
    place of binary cross-entropy with one negative, which is known to rank better. As in the
    paper the encoder's outputs are the prediction vectors.

    Args:
        num_layers: int. Transformer blocks.
        num_heads: int. Attention heads; must divide `embedding_dim`.
        intermediate_dim: int or None. Width of the feed-forward networks; None is 4 times
            `embedding_dim`.
        block: str. `"post_norm"`, the plain `TransformerBlock`, or `"ligr"`: the gated `LiGRBlock`.
        positions: str. `"learned"`: vectors that are added to events (`use_position_embedding`), or
            `"rotary"`: attention sees how far apart events are, by KerasHub's `RotaryEmbedding`.
        **kwargs: arguments of `Encoder`.

    Example:

    >>> model = keras_negrec.build_model(keras_negrec.models.SASRec(num_heads=4), num_items=100)
    >>> model.output["next_item"].shape
    (None, None, 100)

    Reference:
        [Kang & McAuley, 2018](https://arxiv.org/abs/1808.09781);
        [Klenitskiy & Vasilev, 2023](https://arxiv.org/abs/2309.07602) on the objective.
    """
