"""The keep term."""

from __future__ import annotations

import keras

from keras_negrec import layers
from keras_negrec.argument_checks import check_fraction, check_positive_int
from keras_negrec.backend.tensorflow import tf
from keras_negrec.models.feedback.feedback_term import FeedbackTerm
from keras_negrec.models.part import set_rows


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class Keep(FeedbackTerm):
    """Learns how likely each item is kept where it is shown, and ranks by that too.

    The model learns what is shown next, kept or not, and beside it the log odds that an item is
    kept after a history (`keras_negrec.layers.KeepLogit`). The output is
    `(batch, targets, length, 1)`, these log odds for the events of the row; the loss takes those of
    the next `horizon` events of the session. The score of an item is the logit of being shown plus
    `keep_weight` times its log odds of being kept.

    Args:
        weight: float above 0, of the loss.
        keep_weight: float of at least 0. How much the log odds count in the ranking. Training
            does not depend on it: `model.set_ranking_weights(keep=...)` changes it at any time. 0
            ranks by what is shown alone, and more pushes often skipped items further down.
        horizon: int. How many of the next events a history is asked about. What is kept later tells
            about a listener's taste as well as the next one does.
        context_dim: int or None. Width of the vectors that tell which items suit a history; None
            leaves out such: some items are kept more often than others, by some listeners more.
        context_dropout: float from 0 up to but not including 1, for these vectors of the items.

    Example:

    >>> term = keras_negrec.models.feedback.Keep(keep_weight=2.0)
    >>> model = keras_negrec.build_model("sasrec", num_items=9, feedback=[term])
    >>> model.set_ranking_weights(keep=1.5)
    >>> model.ranking_weights
    {'keep': 1.5}
    """

    name = "keep"
    target = "next"
    inputs = ("candidate_ids",)
    ranks = True

    def __init__(
        self, weight=0.25, *, keep_weight=1.0, horizon=1, context_dim=None, context_dropout=0.2
    ):
        super().__init__(weight)
        self.ranking_weight = keep_weight
        self.horizon = check_positive_int("horizon", horizon)
        self.context_dim = context_dim
        self.context_dropout = check_fraction("context_dropout", context_dropout)

    def attach(self, item_embedding, objective, *, dtype):
        self._layer = layers.KeepLogit(
            item_embedding.num_items,
            self.context_dim,
            self.context_dropout,
            dtype=dtype,
            name="keep_logit",
        )

    def training_columns(self, targets, objective):
        batch, first = targets.batch, targets.next_columns[..., tf.newaxis]
        column = tf.range(tf.shape(batch["item_ids"])[1])
        counts = targets.unseen_columns & targets.session_columns & (column < first + self.horizon)
        counts &= targets.is_target[..., tf.newaxis] & (batch["feedback"] != 0)[:, tf.newaxis]
        labels = tf.broadcast_to(batch["feedback"][:, tf.newaxis] > 0, tf.shape(counts))
        labels = tf.cast(labels, "float32")[..., tf.newaxis]
        weights = tf.cast(counts, "float32")
        return {"candidate_ids": batch["item_ids"]}, {"keep": labels}, {"keep": weights}

    def output(self, predictions, inputs, logits):
        return self._layer(predictions, inputs["candidate_ids"])[..., None]

    def loss(self):
        return keras.losses.BinaryCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )

    def history_columns(self, predictions):
        return self._layer.history_columns(predictions)

    def item_columns(self, rows=None):
        return self._layer.item_columns(rows)

    def start_new_items(self, first):
        set_rows(self._layer.item_bias, first, lambda old: old.mean())
        if self.context_dim:
            set_rows(self._layer.item_vectors, first, lambda old: old.mean(axis=0))
