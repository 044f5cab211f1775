"""GRU4Rec."""

from __future__ import annotations

import keras

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.layers import TakePositions
from keras_negrec.layers.in_fewer_passes import Dropout, LayerNormalization
from keras_negrec.models.encoders.encoder import Encoder


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class GRU4Rec(Encoder):
    """A recurrent network: at every position the next item from the events up to it.

    As in the paper's later version, a softmax objective and tied item vectors. Differs from it
    in batches of whole sessions instead of session-parallel ones, in Adam instead of Adagrad, in
    as many units as `embedding_dim`, and in the full softmax by default, where the paper samples
    (`num_sampled_negatives`, `sampling_distribution`, and `build_model(objective="bpr")` give its
    variants). Layer normalization before and after the recurrent layers is ours: item vectors are
    short at first, and without it the state learns slowly. There are no positions: the state knows.

    Args:
        num_layers: int. Recurrent layers.
        **kwargs: arguments of `Encoder`.

    Example:

    >>> model = keras_negrec.build_model(keras_negrec.models.GRU4Rec(num_layers=2), num_items=100)
    >>> model.output["next_item"].shape
    (None, None, 100)

    Reference:
        [Hidasi et al., 2016](https://arxiv.org/abs/1511.06939);
        [Hidasi & Karatzoglou, 2018](https://arxiv.org/abs/1706.03847)
    """

    def __init__(self, *, num_layers=1, **kwargs):
        super().__init__(**kwargs)
        self.num_layers = check_positive_int("num_layers", num_layers)

    def build(self, *, embedding_dim, max_length, dtype):
        def dropout(name):
            return Dropout(self.dropout, dtype=dtype, name=name)

        self._input_norm, self._output_norm = (
            LayerNormalization(dtype=dtype, name=name) for name in ("input_norm", "output_norm")
        )
        self._embedding_dropout = dropout("embedding_dropout")
        self._recurrent = [
            keras.layers.GRU(embedding_dim, return_sequences=True, dtype=dtype, name=f"gru_{i}")
            for i in range(self.num_layers)
        ]
        self._dropouts = [dropout(f"dropout_{i}") for i in range(self.num_layers)]
        self._take_positions = TakePositions(dtype=dtype, name="take_positions")

    def encode(self, x, events, positions):
        x = self._embedding_dropout(self._input_norm(x))
        for gru, dropout in zip(self._recurrent, self._dropouts, strict=True):
            x = dropout(gru(x, mask=events["padding_mask"]))
        return self._output_norm(self._take_positions(x, positions))
