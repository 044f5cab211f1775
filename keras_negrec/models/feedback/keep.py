"""The keep term."""

from __future__ import annotations

import math

import keras
from keras import ops

from keras_negrec import layers
from keras_negrec.backend.tensorflow import tf
from keras_negrec.models.feedback.feedback_term import FeedbackTerm
from keras_negrec.models.part import set_rows


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class Keep(FeedbackTerm):
    """Learns how likely each item is kept where it is shown, and ranks by that too.

    The model learns what is shown next, kept or not, and beside it a keep bias of each item
    (`keras_negrec.layers.KeepLogit`): the output is `(batch, targets, 1)`, the log odds that the
    target was kept. The score of an item is the logit of being shown plus `keep_weight` times
    its keep bias.

    Args:
        weight: float above 0, of the loss.
        keep_weight: float of at least 0. How much the keep bias counts in the ranking. Training
            does not depend on it: `model.set_ranking_weights(keep=...)` changes it at any time. 0
            ranks by what is shown alone, and more pushes often skipped items further down.

    Example:

    >>> term = keras_negrec.models.feedback.Keep(keep_weight=2.0)
    >>> model = keras_negrec.build_model("sasrec", num_items=9, feedback=[term])
    >>> model.set_ranking_weights(keep=1.5)
    >>> model.ranking_weights
    {'keep': 1.5}
    """

    name = "keep"
    target = "next"
    inputs = ("target_ids",)
    ranks = True

    def __init__(self, weight=0.25, *, keep_weight=1.0):
        super().__init__(weight)
        self.ranking_weight = keep_weight

    @property
    def ranking_weight(self):
        return self.keep_weight

    @ranking_weight.setter
    def ranking_weight(self, value):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value < math.inf:
            raise ValueError(f"`keep_weight` must be a number of at least 0. Received: {value!r}")
        self.keep_weight = value

    def attach(self, item_embedding, objective, *, dtype):
        self._layer = layers.KeepLogit(item_embedding.num_items, dtype=dtype, name="keep_logit")

    def training_columns(self, targets, objective):
        received = targets.target_feedback
        weights = tf.cast(targets.is_target & (received != 0), "float32")
        labels = tf.cast(received > 0, "float32")[..., tf.newaxis]
        return {"target_ids": targets.target_ids}, {"keep": labels}, {"keep": weights}

    def output(self, predictions, inputs, logits):
        return self._layer(predictions, inputs["target_ids"])

    def loss(self):
        return keras.losses.BinaryCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )

    def history_columns(self, predictions):
        return ops.ones_like(predictions[:, :1])

    def item_columns(self, rows=None):
        biases = self._layer.keep_biases()[:, None]
        return biases if rows is None else ops.take(biases, rows, axis=0)

    def start_new_items(self, first):
        set_rows(self._layer.item_bias, first, lambda old: old.mean())
