"""Feedback terms: how skips and likes are learned."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_negrec import layers, losses
from keras_negrec.argument_checks import check_choice, check_positive_float
from keras_negrec.backend.tensorflow import tf
from keras_negrec.data.training.targets import Targets, take
from keras_negrec.models.part import Part, set_rows

__all__ = ["FEEDBACK_TERMS", "Contrastive", "FeedbackTerm", "Keep", "NotToRecommend"]


def __dir__():
    return __all__


class FeedbackTerm(Part):
    """A loss that learns from how events were received, and maybe a part of the ranking.

    A term has an output of its own in the model, under its `name`, with a Keras loss and a
    weight. A subclass overrides `training_columns`, `output` and `loss`. One that takes part in
    the ranking sets `ranks`, and adds columns to the vectors of histories and items, whose product
    is added to the score with its `ranking_weight`: a score stays a product of two vectors,
    and all that ranks, exports or grows a model knows nothing of the term.

    Args:
        weight: float above 0. Weight of its loss beside that of the next item.

    Attributes:
        name: str. Of the output; `<name>_loss` is its line in the history.
        target: `"next"` or `"next_positive"` where the term needs training to predict that, else
            None.
        inputs: tuple of str. Names of the inputs that `training_columns` give a model, beside
            those of the objective.
        asks_for_skips: bool. Whether positions before a skip are asked for, too.
        ranks: bool. Whether the term takes part in the ranking.
        ranking_weight: float. How much it counts there; models with it can set it at any time.
    """

    name: str
    target: str | None = None
    inputs: tuple[str, ...] = ()
    asks_for_skips = False
    ranks = False
    ranking_weight = 1.0

    def __init__(self, weight=0.25):
        self.weight = check_positive_float(f"{type(self).__name__}(weight)", weight)

    def attach(self, item_embedding, objective, *, dtype) -> None:
        """Makes the layers; models call it once. `item_embedding` knows `num_items`."""

    def training_columns(self, targets: Targets, objective) -> tuple[dict, dict, dict]:
        """Inputs of the model, labels and sample weights of a batch, in TensorFlow, dicts by name.

        Args:
            targets: `keras_negrec.data.training.targets.Targets`.
            objective: that of the model; `objective.label` says how it is told of items.
        """
        raise NotImplementedError(f"{type(self).__name__} must override `training_columns`.")

    def output(self, predictions, inputs: dict, logits):
        """The output that `loss` takes.

        It is made of the encoder's predictions `(batch, num_positions, embedding_dim)`, the dict
        of the model's inputs, and the output of the objective.
        """
        raise NotImplementedError(f"{type(self).__name__} must override `output`.")

    def loss(self) -> keras.losses.Loss:
        """The Keras loss of labels against the output."""
        raise NotImplementedError(f"{type(self).__name__} must override `loss`.")

    def history_columns(self, predictions) -> Any:
        """Columns of a history for the ranking: `(batch, n)`, from `(batch, embedding_dim)`."""
        raise NotImplementedError(f"{type(self).__name__} must override `history_columns`.")

    def item_columns(self, rows=None) -> Any:
        """Columns of all items, or of some rows, for the ranking: `(num_items, n)`."""
        raise NotImplementedError(f"{type(self).__name__} must override `item_columns`.")


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


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class NotToRecommend(FeedbackTerm):
    """Lowers the probability of an item right where it was skipped.

    The output is the logits of the objective for the skipped items. It needs the logits, so that
    it does not go with a fused softmax, and the next kept item as the target.

    Example:

    >>> model = keras_negrec.build_model("sasrec", num_items=9, negative_loss="not_to_recommend")
    >>> sorted(model.output)
    ['next_item', 'not_to_recommend']

    Reference:
        [Wang et al., 2023](https://arxiv.org/abs/2308.12256)
    """

    name = "not_to_recommend"
    target = "next_positive"
    asks_for_skips = True

    def attach(self, item_embedding, objective, *, dtype):
        if not objective.gives_logits:
            raise ValueError(
                "A fused softmax has no logits, which the term `not_to_recommend` needs. Received: "
                f"objective={objective!r}"
            )
        self._objective = objective
        self.inputs = ("skip_target_ids",) if objective.inputs else ()

    def training_columns(self, targets, objective):
        inputs, classes = objective.label(targets.skip_target_ids, "skip_target_ids")
        weights = tf.cast(targets.skip_target_ids > 0, "float32")
        return inputs, {"not_to_recommend": classes}, {"not_to_recommend": weights}

    def output(self, predictions, inputs, logits):
        if not self.inputs:
            return logits
        return self._objective.logits(predictions, inputs, "skip_target_ids")

    def loss(self):
        return losses.NotToRecommend()


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


# The names that `build_model(negative_loss=...)` takes; True is the first one.
FEEDBACK_TERMS = {term.name: term for term in (Contrastive, NotToRecommend, Keep)}
