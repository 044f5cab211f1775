"""The model of sessions: an encoder, an objective, and any number of feedback terms."""

from __future__ import annotations

import functools

import keras
import numpy as np
from keras import ops

from keras_negrec import layers
from keras_negrec.argument_checks import check_num_items, check_positive_int
from keras_negrec.data import TrainingData
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.training.targets import check_target
from keras_negrec.models.encoders import Encoder
from keras_negrec.models.feedback import FeedbackTerm
from keras_negrec.models.objectives import Objective, Softmax
from keras_negrec.models.recommender import Recommender, check_ranking_weights


@keras.saving.register_keras_serializable(package="keras_negrec")
class SessionRecommender(Recommender):
    """A functional Keras model from sessions to scores of the whole catalogue.

    It is made of three kinds of exchangeable parts, built in or your own: an encoder turns a
    history into vectors, an objective says how the next item is learned, and feedback terms how
    skips and likes are. `build_model` is the short way.

    The graph, on a dict of inputs:

        item_ids (batch, length), other event columns     item vectors, encoder
        target_positions (batch, targets)                 where to predict: prediction vectors
        -> "next_item"                                    what the objective makes of them
        -> the name of each feedback term                 what the term makes of them

    `training_dataset` makes inputs and labels from `Sessions` or from prepared data. It also tells
    in-batch and mixed negative sampling how frequent the items are in them, and with
    `num_features` the item vectors which items occur.

    Args:
        encoder: `keras_negrec.models.Encoder`.
        num_items: int. Size of the catalogue. Default: that of `vocabulary`.
        vocabulary: `Vocabulary` or None. Is saved with the model.
        objective: `keras_negrec.models.Objective`; None is the softmax over the catalogue.
        feedback: sequence of `keras_negrec.models.FeedbackTerm`.
        max_length: int. The most events the encoder sees.
        embedding_dim: int. Width of item and prediction vectors.
        num_features: int or None. How many numbers describe each item, for item vectors that
            are made of these too; give them to `model.item_embedding.set_features`.
        exclude_seen: bool. Whether items of a history are left out of what is recommended after
            it, in `recommend`, exports and evaluation. False where people come back to items.
        dtype: dtype or dtype policy of the layers.
        name, trainable: as in `keras.Model`.

    Attributes:
        encoder, objective: this model's own copies of these parts, with their layers.
        feedback_terms: dict of this model's own feedback terms by their names.
        target: `"next_positive"` or `"next"`, what training predicts.
        mask_id: int. The id of the mask token of a cloze model, one past the last item.

    Raises:
        ValueError: an argument outside of its range; `num_items` against `vocabulary`; feedback
            terms that need different targets, or one that is there twice.
        TypeError: a part of another kind.

    Example:

    >>> model = keras_negrec.models.SessionRecommender(
    ...     keras_negrec.models.GRU4Rec(feedback_inputs=True),
    ...     num_items=100,
    ...     objective=keras_negrec.models.objectives.SampledSoftmax(32),
    ...     feedback=[keras_negrec.models.feedback.Keep()],
    ... )
    >>> model.compile("adam")  # losses are those of the parts
    >>> sorted(model.output)
    ['keep', 'next_item']
    """

    def __init__(
        self,
        encoder,
        *,
        num_items=None,
        vocabulary=None,
        objective=None,
        feedback=(),
        max_length=50,
        embedding_dim=64,
        num_features=None,
        exclude_seen=True,
        dtype=None,
        name=None,
        trainable=True,
    ):
        def own(name, part, kind):
            if not isinstance(part, kind):
                raise TypeError(f"`{name}` must be of type {kind.__name__}. Received: {part!r}")
            return part.copy()

        encoder = own("encoder", encoder, Encoder)
        objective = own("objective", objective or Softmax(), Objective)
        terms = tuple(own("feedback", term, FeedbackTerm) for term in feedback)
        if len({term.name for term in terms}) != len(terms):
            raise ValueError(f"`feedback` must have each term once. Received: {terms}")
        num_items = check_num_items(num_items, vocabulary)
        check_positive_int("max_length", max_length)
        target = objective.target
        if target is None:
            target = next((term.target for term in terms if term.target), "next_positive")
        check_target(target, terms)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())

        item_embedding = layers.ItemEmbedding(
            num_items,
            embedding_dim,
            mask_token=not encoder.causal,
            num_features=num_features,
            dtype=policy,
            name="item_embedding",
        )
        encoder.attach(item_embedding, max_length=max_length, dtype=policy)
        inputs = _event_inputs(encoder)
        inputs["target_positions"] = keras.Input((None,), dtype="int32", name="target_positions")
        predictions = encoder(inputs, inputs["target_positions"])
        objective.attach(item_embedding, dtype=policy)
        for term in terms:
            term.attach(item_embedding, objective, dtype=policy)
        for part in (objective, *terms):
            for key in part.inputs:
                inputs.setdefault(key, keras.Input((None,), dtype="int32", name=key))
        logits = objective.logits(predictions, inputs)
        outputs = {"next_item": logits}
        for term in terms:
            outputs[term.name] = term.output(predictions, inputs, logits)
        super().__init__(inputs=inputs, outputs=outputs, name=name, trainable=trainable)
        self.dtype_policy = policy

        self.encoder = encoder
        self.objective = objective
        self.feedback_terms: dict[str, FeedbackTerm] = {term.name: term for term in terms}
        self.target = target
        self._trains_by_rows = objective.reads_rows
        self.num_items = num_items
        self.max_length = max_length
        self.item_embedding = item_embedding
        self.vocabulary = vocabulary
        self.exclude_seen = bool(exclude_seen)
        self.mask_id = num_items + 1
        self._ranking_terms = tuple(term for term in terms if term.ranks)
        self._config = {
            "num_items": num_items,
            "max_length": max_length,
            "embedding_dim": embedding_dim,
            "num_features": num_features,
            "exclude_seen": self.exclude_seen,
            "dtype": keras.dtype_policies.serialize(policy),
        }

    def get_config(self):
        parts: dict = {"encoder": self.encoder, "objective": self.objective}
        parts["feedback"] = list(self.feedback_terms.values())
        return {**keras.saving.serialize_keras_object(parts), **super().get_config()}

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, **kwargs):
        """As in Keras; without `loss`, with the losses and weights of the model's parts."""
        if loss is None:
            loss = {"next_item": self.objective.loss(self.num_items)}
            loss |= {name: term.loss() for name, term in self.feedback_terms.items()}
            if loss_weights is None:
                loss_weights = {"next_item": 1.0}
                loss_weights |= {name: term.weight for name, term in self.feedback_terms.items()}
        if self._trains_by_rows and keras.config.backend() == "tensorflow":
            kwargs.setdefault("jit_compile", False)  # XLA copies a table to change rows of it.
        super().compile(optimizer=optimizer, loss=loss, loss_weights=loss_weights, **kwargs)

    @property
    def ranking_weights(self) -> dict[str, float]:
        return {term.name: term.ranking_weight for term in self._ranking_terms}

    def set_ranking_weights(self, **weights: float) -> None:
        """Says how much feedback terms count in the ranking where nothing else is asked for.

        Training does not depend on it.

        Args:
            **weights: float of at least 0 by the name of a term that takes part in the ranking;
                else a ValueError.
        """
        for name, weight in check_ranking_weights(self, weights).items():
            self.feedback_terms[name].ranking_weight = weight

    @property
    def ranking_columns(self):
        found, stop = {}, self.serving_model.output.shape[-1]
        for term in reversed(self._ranking_terms):
            start = stop - term.item_columns(np.zeros(1, "int32")).shape[1]
            found[term.name], stop = [slice(start, stop)], start
        return found

    def _column_weights(self):
        weights = super()._column_weights()
        for name, [columns] in self.ranking_columns.items():
            weights[columns] = self.ranking_weights[name]
        return weights

    def _training_batches(self, sessions, options):
        if self.item_embedding.num_features is not None:
            self.item_embedding.adapt(sessions.item_counts(self.num_items))
        if self.objective.counts_items:
            positive = self.target == "next_positive"
            self.objective.adapt(sessions.item_counts(self.num_items, positive=positive))
        causal = self.encoder.causal
        batches = sessions.batches(
            max_length=self.max_length + causal,  # the last event is a target only
            overlap=int(causal),
            with_steps=True,
            **options,
        )
        names = list(self.input)  # Keras mixes up inputs when given more than it knows

        def keep_own_inputs(x, y, sample_weight):
            return {name: x[name] for name in names}, y, sample_weight

        terms = tuple(self.feedback_terms.values())
        targets = self.encoder.targets(self.target, self.objective, terms, options["seed"])
        return batches.apply(targets).map(keep_own_inputs)

    @functools.cached_property
    def serving_model(self) -> keras.Model:
        """A functional model from histories to the prediction vector of what comes next.

        Inputs are the event columns that the encoder reads, `(batch, length)`, left-padded; the
        output `(batch, dim)` has columns like `item_vectors`. Weights are shared with this model.
        """
        inputs = _event_inputs(self.encoder)
        last = ops.full_like(inputs["item_ids"][:, :1], -1)
        vectors = self.encoder(self.encoder.next_event(inputs), last)[:, 0]
        columns = [term.history_columns(vectors) for term in self._ranking_terms]
        return keras.Model(inputs, _beside(vectors, columns), name=f"{self.name}_serving")

    def item_vectors(self, rows=None):
        """As in the base class; the columns of feedback terms that rank come last."""
        columns = [term.item_columns(rows) for term in self._ranking_terms]
        return _beside(super().item_vectors(rows), columns)

    def _check_catalogue(self, rows: TrainingData) -> None:
        super()._check_catalogue(rows)
        missing = [name for name in self.encoder.inputs if name not in rows.column_names]
        if missing:
            raise ValueError(
                f"The model's encoder reads the event column `{missing[0]}` (`session_ids` with "
                "`max_sessions`; times with `time_periods`, and HSTU unless use_time=False). "
                f"Received data with {list(rows.column_names)}"
            )


def _beside(vectors, columns: list):
    """Vectors with further columns, as they are without any."""
    columns = [ops.cast(each, vectors.dtype) for each in columns]
    return ops.concatenate([vectors, *columns], axis=-1) if columns else vectors


def _event_inputs(encoder: Encoder) -> dict:
    return {
        name: keras.Input((None,), dtype=EVENT_COLUMNS[name].input_dtype, name=name)
        for name in encoder.inputs
    }
