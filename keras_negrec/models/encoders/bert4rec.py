"""BERT4Rec."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.argument_checks import check_fraction
from keras_negrec.data.event_columns import EVENT_COLUMNS, value_after
from keras_negrec.data.training.cloze_targets import ClozeTargets
from keras_negrec.models.encoders.transformer_encoder import TransformerEncoder


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
        appended = {}
        for name, values in events.items():
            new = self._mask_id if name == "item_ids" else EVENT_COLUMNS[name].masked
            last = events[value_after(name, events)][:, -1:]
            last = last if new is None else ops.full_like(last, new)
            appended[name] = ops.concatenate([values[:, 1:], last], axis=1)
        return appended

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
