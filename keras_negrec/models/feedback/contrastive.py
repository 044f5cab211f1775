"""The contrastive term."""

from __future__ import annotations

import keras

from keras_negrec import layers, losses
from keras_negrec.argument_checks import check_choice
from keras_negrec.backend.tensorflow import tf
from keras_negrec.data.training.targets import take
from keras_negrec.models.feedback.feedback_term import FeedbackTerm


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class Contrastive(FeedbackTerm):
    """Pulls a session's context towards the next kept item and away from its skipped ones.

    The output is `(batch, contexts, candidates)`: the similarity of each context with each item
    of its own session.

    Args:
        weight: float above 0.
        temperature: float above 0, of the loss.
        context: what the loss moves: `"hidden"`, the prediction vectors, or `"item"`, the item
            vectors themselves.
        similarity: `"cosine"` or `"dot"`: how the term compares.

    Example:

    >>> term = keras_negrec.models.feedback.Contrastive(weight=0.5, context="item")
    >>> model = keras_negrec.build_model("sasrec", num_items=9, feedback=[term])
    >>> sorted(model.output)
    ['contrastive', 'next_item']

    Reference:
        [Seshadri & Knees, 2023](https://arxiv.org/abs/2309.11623)
    """

    name = "contrastive"
    inputs = ("candidate_ids",)

    def __init__(self, weight=0.25, *, temperature=0.1, context="hidden", similarity="cosine"):
        super().__init__(weight)
        check_choice("context", context, ("hidden", "item"))
        check_choice("similarity", similarity, ("cosine", "dot"))
        self.temperature = temperature
        self.context = context
        self.similarity = similarity

    def attach(self, item_embedding, objective, *, dtype):
        self._item_embedding, name = item_embedding, "feedback_similarity"
        self._layer = layers.FeedbackSimilarity(self.similarity, dtype=dtype, name=name)

    def training_columns(self, targets, objective):
        if self.context == "item":
            columns, sessions = targets.next_positive_columns, targets.same_session
        else:
            columns, sessions = targets.positive_columns, targets.session_columns
        labels = _candidate_labels(targets.batch, columns, sessions)
        weights = tf.ones(tf.shape(labels)[:2])
        inputs = {"candidate_ids": targets.batch["item_ids"]}
        return inputs, {"contrastive": labels}, {"contrastive": weights}

    def output(self, predictions, inputs, logits):
        candidates = self._item_embedding(inputs["candidate_ids"])
        return self._layer(predictions if self.context == "hidden" else candidates, candidates)

    def loss(self):
        return losses.NegativeFeedbackContrastive(temperature=self.temperature)


def _candidate_labels(batch: dict, positive_columns: tf.Tensor, is_candidate: tf.Tensor):
    """int8 `(batch, contexts, length)`: 1 the positive, 0 a negative, -1 no candidate.

    A skipped item that is also the positive is no negative. A context without a positive (column
    -1) or without a negative has -1 throughout.
    """
    items = batch["item_ids"]
    positive = tf.range(tf.shape(items)[1]) == positive_columns[..., tf.newaxis]
    positive_items = take(items, positive_columns)
    skipped = (batch["feedback"] < 0) & (items > 0)
    negative = is_candidate & skipped[:, tf.newaxis, :]
    negative &= items[:, tf.newaxis, :] != positive_items[..., tf.newaxis]
    labels = tf.where(positive, 1, tf.where(negative, 0, -1))
    counts = (positive_columns >= 0) & tf.reduce_any(negative, axis=-1)
    return tf.cast(tf.where(counts[..., tf.newaxis], labels, -1), "int8")
