"""The encoder that SASRec and BERT4Rec share."""

from __future__ import annotations

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.layers import TransformerBlock
from keras_negrec.layers.dropout import Dropout
from keras_negrec.layers.layer_normalization import LayerNormalization


def transformer_encoder(
    embedding_dim: int,
    dropout: float,
    dtype,
    *,
    causal: bool,
    num_layers: int,
    num_heads: int,
    intermediate_dim: int | None,
):
    """A stack of transformer blocks, as `SessionRecommender.build_encoder` gives it."""
    check_positive_int("num_layers", num_layers)
    check_positive_int("num_heads", num_heads)
    norm = LayerNormalization(epsilon=1e-6, dtype=dtype, name="embedding_norm")
    embedding_dropout = Dropout(dropout, dtype=dtype, name="embedding_dropout")
    blocks = [
        TransformerBlock(
            4 * embedding_dim if intermediate_dim is None else intermediate_dim,
            num_heads,
            dropout,
            causal=causal,
            dtype=dtype,
            name=f"transformer_block_{i}",
        )
        for i in range(num_layers)
    ]

    def encode(x, padding_mask, positions):
        x = embedding_dropout(norm(x))
        for block in blocks[:-1]:
            x = block(x, padding_mask)
        return blocks[-1](x, padding_mask, positions)

    return encode
