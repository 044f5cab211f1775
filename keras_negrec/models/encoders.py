"""Encoders: a history in, vectors at the positions asked for out."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.argument_checks import check_fraction, check_positive_int
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.training.cloze_targets import ClozeTargets
from keras_negrec.layers import (
    AppendMaskToken,
    ConvolutionalSequenceEmbedding,
    TakePositions,
    TransformerBlock,
)
from keras_negrec.layers.dropout import Dropout
from keras_negrec.layers.layer_normalization import LayerNormalization
from keras_negrec.models.encoder import Encoder

__all__ = ["ENCODERS", "BERT4Rec", "Caser", "Encoder", "GRU4Rec", "SASRec"]


def __dir__():
    return __all__


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
        **kwargs: arguments of `Encoder`.

    Example:

    >>> model = keras_negrec.build_model(keras_negrec.models.SASRec(num_heads=4), num_items=100)
    >>> model.output["next_item"].shape
    (None, None, 100)

    Reference:
        [Kang & McAuley, 2018](https://arxiv.org/abs/1808.09781);
        [Klenitskiy & Vasilev, 2023](https://arxiv.org/abs/2309.07602) on the objective.
    """


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class BERT4Rec(TransformerEncoder):
    """Bidirectional self-attention, trained to fill in masked events.

    To predict, the mask token is put after the history, in place of its oldest event.

    Args:
        mask_probability: float. The share of a row's events that is masked in training.
        last_probability: float. The share of rows in which only the last event is masked.
        **kwargs: arguments of `SASRec` and `Encoder`.

    Example:

    >>> model = keras_negrec.build_model(keras_negrec.models.BERT4Rec(), num_items=100)
    >>> model.output["next_item"].shape, model.mask_id
    ((None, None, 100), 101)

    Reference:
        [Sun et al., 2019](https://arxiv.org/abs/1904.06690)
    """

    causal = False
    transform_predictions = True

    def __init__(self, *, mask_probability=0.2, last_probability=0.2, **kwargs):
        super().__init__(**kwargs)
        self.mask_probability = check_fraction("mask_probability", mask_probability)
        self.last_probability = check_fraction("last_probability", last_probability)

    def attach(self, item_embedding, **kwargs):
        self._mask_id = item_embedding.num_items + 1
        super().attach(item_embedding, **kwargs)

    def next_event(self, events):
        values = {name: EVENT_COLUMNS[name].masked for name in events}
        values["item_ids"] = self._mask_id
        return {
            name: AppendMaskToken(values[name], name=f"append_{name}")(column)
            for name, column in events.items()
        }

    def targets(self, target, objective, feedback, seed=0):
        return ClozeTargets(
            self._mask_id,
            mask_probability=self.mask_probability,
            last_probability=self.last_probability,
            target=target,
            objective=objective,
            feedback=feedback,
            seed=seed,
        )


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class GRU4Rec(Encoder):
    """A recurrent network: at every position the next item from the events up to it.

    As in the paper's later version, a softmax objective and tied item vectors. Differs from it
    in batches of whole sessions instead of session-parallel ones, in Adam instead of Adagrad, in
    as many units as `embedding_dim`, and in the full softmax by default, where the paper samples
    (`num_sampled_negatives`, `sampling_distribution`, and `build_model(objective="bpr")` give its
    variants). There are no positions: the state knows.

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

        self._embedding_dropout = dropout("embedding_dropout")
        self._recurrent = [
            keras.layers.GRU(embedding_dim, return_sequences=True, dtype=dtype, name=f"gru_{i}")
            for i in range(self.num_layers)
        ]
        self._dropouts = [dropout(f"dropout_{i}") for i in range(self.num_layers)]
        self._take_positions = TakePositions(dtype=dtype, name="take_positions")

    def encode(self, x, events, positions):
        x = self._embedding_dropout(x)
        for gru, dropout in zip(self._recurrent, self._dropouts, strict=True):
            x = dropout(gru(x, mask=events["padding_mask"]))
        return self._take_positions(x, positions)


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class Caser(Encoder):
    """Horizontal and vertical convolutions over the newest events.

    Window, filters and activations are the paper's. Differs from it in that there is no user
    vector, since a session has no user to learn one for; in the objective, a softmax in place of
    binary cross-entropy; in tied item vectors; and in one next item as the target, at every
    position, in place of the next few.

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
        self._dropout = Dropout(self.dropout, dtype=dtype, name="dropout")
        self._dense = keras.layers.Dense(
            embedding_dim, activation="relu", dtype=dtype, name="dense"
        )
        self._take_positions = TakePositions(dtype=dtype, name="take_positions")

    def encode(self, x, events, positions):
        x = x * ops.cast(ops.expand_dims(events["padding_mask"], -1), x.dtype)
        x = self._take_positions(self._convolutions(x), positions)
        return self._dense(self._dropout(x))


# The names that `build_model` takes.
ENCODERS = {kind.__name__.lower(): kind for kind in (BERT4Rec, Caser, GRU4Rec, SASRec)}
