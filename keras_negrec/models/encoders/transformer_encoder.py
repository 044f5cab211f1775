"""What self-attention encoders share."""

from __future__ import annotations

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.layers import TransformerBlock
from keras_negrec.layers.in_fewer_passes import Dropout, LayerNormalization
from keras_negrec.models.encoders.encoder import Encoder


class TransformerEncoder(Encoder):
    """Self-attention, to what came before or in both directions; arguments as for `SASRec`."""

    has_position_embedding = True

    def __init__(self, *, num_layers=2, num_heads=2, intermediate_dim=None, **kwargs):
        super().__init__(**kwargs)
        self.num_layers = check_positive_int("num_layers", num_layers)
        self.num_heads = check_positive_int("num_heads", num_heads)
        self.intermediate_dim = intermediate_dim

    def build(self, *, embedding_dim, max_length, dtype):
        self._norm = LayerNormalization(epsilon=1e-6, dtype=dtype, name="embedding_norm")
        self._dropout = Dropout(self.dropout, dtype=dtype, name="embedding_dropout")
        self._blocks = [
            TransformerBlock(
                4 * embedding_dim if self.intermediate_dim is None else self.intermediate_dim,
                self.num_heads,
                self.dropout,
                causal=self.causal,
                dtype=dtype,
                name=f"transformer_block_{i}",
            )
            for i in range(self.num_layers)
        ]

    def encode(self, x, events, positions):
        x = self._dropout(self._norm(x))
        for block in self._blocks[:-1]:
            x = block(x, events["padding_mask"])
        return self._blocks[-1](x, events["padding_mask"], positions)
