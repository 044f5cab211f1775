"""The contrastive term."""

from __future__ import annotations

import keras

from keras_negrec import layers, losses
from keras_negrec.argument_checks import check_choice, check_positive_int
from keras_negrec.backend.tensorflow import tf
from keras_negrec.data.training.targets import take
from keras_negrec.models.feedback.feedback_term import FeedbackTerm


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class Contrastive(FeedbackTerm):
    """Pulls a session's context towards the next kept item and away from its skipped ones.

    The output is `(batch, contexts, candidates)`: the similarity of each context with each item
    of its own session.

    As the paper has it, the loss moves the vectors that rank, and shows fewer items of all kinds
    where it pays for skips with hits. With `projection_dim` it moves vectors of its own, made by
    two small networks of context and item, and these take part in the ranking: the score of an item
    is its logit plus `contrastive_weight` times the projected similarity, divided by the
    temperature. Training then leaves what is shown alone, and the weight is chosen afterwards.

    Args:
        weight: float above 0.
        temperature: float above 0, of the loss.
        context: what the loss moves: `"hidden"`, the prediction vectors, or `"item"`, the item
            vectors themselves.
        similarity: `"cosine"` or `"dot"`: how the term compares.
        projection_dim: int or None. Width of the projections; None is the paper's form, without.
            For hidden contexts and cosines alone.
        contrastive_weight: float of at least 0. How much the projected similarity counts in the
            ranking: `model.set_ranking_weights(contrastive=...)` changes it at any time.

    Example:

    >>> term = keras_negrec.models.feedback.Contrastive(weight=0.5, context="item")
    >>> model = keras_negrec.build_model("sasrec", num_items=9, feedback=[term])
    >>> sorted(model.output)
    ['contrastive', 'next_item']
    >>> term = keras_negrec.models.feedback.Contrastive(projection_dim=32)
    >>> keras_negrec.build_model("sasrec", num_items=9, feedback=[term]).ranking_weights
    {'contrastive': 0.5}

    Reference:
        [Seshadri & Knees, 2023](https://arxiv.org/abs/2309.11623); the projection is that of
        [Chen et al., 2020](https://arxiv.org/abs/2002.05709).
    """

    name = "contrastive"
    inputs = ("candidate_ids",)

    def __init__(
        self,
        weight=0.25,
        *,
        temperature=0.1,
        context="hidden",
        similarity="cosine",
        projection_dim=None,
        contrastive_weight=0.5,
    ):
        super().__init__(weight)
        check_choice("context", context, ("hidden", "item"))
        check_choice("similarity", similarity, ("cosine", "dot"))
        if projection_dim is not None:
            check_positive_int("projection_dim", projection_dim)
            if (context, similarity) != ("hidden", "cosine"):
                raise ValueError(
                    '`projection_dim` goes with context="hidden" and similarity="cosine". Received:'
                    f" context={context!r}, similarity={similarity!r}"
                )
        self.temperature = temperature
        self.context = context
        self.similarity = similarity
        self.projection_dim = projection_dim
        self.ranking_weight = contrastive_weight
        self.ranks = projection_dim is not None

    def attach(self, item_embedding, objective, *, dtype):
        self._item_embedding, name = item_embedding, "feedback_similarity"
        self._layer = layers.FeedbackSimilarity(self.similarity, dtype=dtype, name=name)
        if self.ranks:
            self._project_contexts, self._project_items = (
                layers.ProjectionHead(self.projection_dim, dtype=dtype, name=name)
                for name in ("context_projection", "item_projection")
            )

    def training_columns(self, targets, objective):
        if self.context == "item":
            columns, sessions = targets.next_positive_columns, targets.same_session
        else:
            columns, sessions = targets.positive_columns, targets.session_columns
        return next_kept_against_skipped(self.name, targets, columns, sessions)

    def output(self, predictions, inputs, logits):
        candidates = self._item_embedding(inputs["candidate_ids"])
        contexts = predictions if self.context == "hidden" else candidates
        if self.ranks:
            contexts, candidates = self._project_contexts(contexts), self._project_items(candidates)
        return self._layer(contexts, candidates)

    def loss(self):
        return losses.NegativeFeedbackContrastive(temperature=self.temperature)

    def history_columns(self, predictions):
        return self._project_contexts(predictions)

    def item_columns(self, rows=None):
        return self._project_items(self._item_embedding.table(rows)) / self.temperature


def next_kept_against_skipped(name: str, targets, positive_columns, is_candidate):
    """Inputs, labels and weights of a term that compares items of a row.

    The labels are int8 `(batch, contexts, length)`: 1 the positive, 0 a negative, -1 no candidate.
    A skipped item that is also the positive is no negative. A context without a positive (column
    -1) or without a negative has -1 throughout.
    """
    batch = targets.batch
    items = batch["item_ids"]
    positive = tf.range(tf.shape(items)[1]) == positive_columns[..., tf.newaxis]
    positive_items = take(items, positive_columns)
    skipped = (batch["feedback"] < 0) & (items > 0)
    negative = is_candidate & skipped[:, tf.newaxis, :]
    negative &= items[:, tf.newaxis, :] != positive_items[..., tf.newaxis]
    labels = tf.where(positive, 1, tf.where(negative, 0, -1))
    counts = (positive_columns >= 0) & tf.reduce_any(negative, axis=-1)
    labels = tf.cast(tf.where(counts[..., tf.newaxis], labels, -1), "int8")
    weights = tf.ones(tf.shape(labels)[:2])
    return {"candidate_ids": items}, {name: labels}, {name: weights}
