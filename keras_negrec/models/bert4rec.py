"""BERT4Rec."""

from __future__ import annotations

from typing import ClassVar

import keras

from keras_negrec.argument_checks import check_fraction
from keras_negrec.data import ClozeTargets
from keras_negrec.layers import AppendMaskToken
from keras_negrec.models.session_recommender import SessionRecommender
from keras_negrec.models.transformer_encoder import transformer_encoder


@keras.saving.register_keras_serializable(package="keras_negrec")
class BERT4Rec(SessionRecommender):
    """Bidirectional self-attention, trained to fill in masked events.

    To predict, the mask token is put after the history, in place of its oldest event.

    Inputs, outputs and arguments are those of `SessionRecommender`, and:

    Args:
        num_layers: int. Transformer blocks.
        num_heads: int. Attention heads; must divide `embedding_dim`.
        intermediate_dim: int or None. Width of the feed-forward networks; None is 4 times
            `embedding_dim`.
        mask_probability: float. The share of a row's events that is masked in training.
        last_probability: float. The share of rows in which only the last event is masked.

    Example:

    >>> model = keras_negrec.models.BERT4Rec(num_items=100, embedding_dim=8)
    >>> model.output["next_item"].shape, model.mask_id
    ((None, None, 100), 101)

    Reference:
        [Sun et al., 2019](https://arxiv.org/abs/1904.06690)
    """

    causal = False
    transform_predictions = True
    has_positions = True
    encoder_defaults: ClassVar[dict] = {"num_layers": 2, "num_heads": 2, "intermediate_dim": None}

    @staticmethod
    def build_encoder(embedding_dim, dropout, dtype, **encoder_options):
        return transformer_encoder(embedding_dim, dropout, dtype, causal=False, **encoder_options)

    def __init__(self, num_items=None, *, mask_probability=0.2, last_probability=0.2, **kwargs):
        check_fraction("mask_probability", mask_probability)
        check_fraction("last_probability", last_probability)
        super().__init__(num_items, **kwargs)
        self._config["mask_probability"] = mask_probability
        self._config["last_probability"] = last_probability

    def targets(self, seed: int = 0) -> ClozeTargets:
        return ClozeTargets(
            mask_id=self.mask_id,
            mask_probability=self._config["mask_probability"],
            last_probability=self._config["last_probability"],
            **self._target_options,
            seed=seed,
        )

    def _query(self, inputs: dict) -> dict:
        new_event = {"item_ids": self.mask_id, "feedback": 0, "session_ids": None}
        return {
            key: AppendMaskToken(new_event[key], name=f"append_{key}")(values)
            for key, values in inputs.items()
        }
