"""What self-attention encoders share."""

from __future__ import annotations

from keras_negrec.argument_checks import check_choice, check_positive_int
from keras_negrec.layers import LiGRBlock, TransformerBlock
from keras_negrec.layers.in_fewer_passes import Dropout, LayerNormalization
from keras_negrec.models.encoders.encoder import Encoder

BLOCKS = {"post_norm": TransformerBlock, "ligr": LiGRBlock}  # what `block` can be


class TransformerEncoder(Encoder):
    """Self-attention, to what came before or in both directions; arguments as for `SASRec`."""

    has_position_embedding = True

    def __init__(
        self,
        *,
        num_layers=2,
        num_heads=2,
        intermediate_dim=None,
        block="post_norm",
        positions="learned",
        **kwargs,
    ):
        check_choice("block", block, tuple(BLOCKS))
        check_choice("positions", positions, ("learned", "rotary"))
        if positions == "rotary" and kwargs.get("use_position_embedding") is None:
            kwargs["use_position_embedding"] = False
        super().__init__(**kwargs)
        self.block = block
        self.positions = positions
        self.num_layers = check_positive_int("num_layers", num_layers)
        self.num_heads = check_positive_int("num_heads", num_heads)
        self.intermediate_dim = intermediate_dim

    def build(self, *, embedding_dim, max_length, dtype):
        # Blocks that normalize what goes in leave what comes out as it is.
        name = "last_norm" if self.block == "ligr" else "embedding_norm"
        self._norm = LayerNormalization(epsilon=1e-6, dtype=dtype, name=name)
        self._dropout = Dropout(self.dropout, dtype=dtype, name="embedding_dropout")
        self._blocks = [
            BLOCKS[self.block](
                4 * embedding_dim if self.intermediate_dim is None else self.intermediate_dim,
                self.num_heads,
                self.dropout,
                causal=self.causal,
                rotary=self.positions == "rotary",
                dtype=dtype,
                name=f"transformer_block_{i}",
            )
            for i in range(self.num_layers)
        ]

    def encode(self, x, events, positions):
        norm_first, mask = self.block != "ligr", events["padding_mask"]
        x = self._dropout(self._norm(x) if norm_first else x)
        for block in self._blocks[:-1]:
            x = block(x, mask)
        x = self._blocks[-1](x, mask, positions)
        return x if norm_first else self._norm(x)
