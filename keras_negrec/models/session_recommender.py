"""What all sequential models of the package share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import ClassVar

import keras
import tensorflow as tf

from keras_negrec import layers
from keras_negrec.argument_checks import (
    check_choice,
    check_fraction,
    check_num_items,
    check_positive_int,
)
from keras_negrec.data import NextItemTargets, TrainingData
from keras_negrec.data.training.training_targets import check_target
from keras_negrec.models.negative_loss_names import negative_loss_names
from keras_negrec.models.recommender import Recommender


class SessionRecommender(Recommender):
    """A functional Keras model from sessions to scores of the whole catalogue.

    Subclasses give the encoder: `SASRec`, `BERT4Rec`, `GRU4Rec`, `Caser`. The graph, on a dict of
    inputs:

        item_ids (batch, length)          item vectors [+ positions] [+ feedback], encoder
        target_positions (batch, targets) where to predict: prediction vectors
        -> "next_item": (batch, targets, num_items), column j the score of item j + 1

    and with `num_sampled_negatives`, where `target_ids (batch, targets)` is one more input, `next_item`
    is (batch, targets, 1 + num_sampled_negatives) with the target in column 0; `skips_as_negatives` adds
    the row's own skipped items, the input `skipped_ids (batch, length)`, as further columns. With
    `fused_softmax` and the input `target_ids`, `next_item` is (batch, targets), the cross-entropy
    of the full softmax itself, and the logits are never in memory all at once.

    Each negative-feedback loss has an output of its own. For `"contrastive"`,
    `candidate_ids (batch, candidates)` gives `contrastive`: the similarities
    (batch, contexts, candidates) of each context with the session's own items. For
    `"not_to_recommend"` there is one more output of that name: the logits of `next_item` again,
    or with `num_sampled_negatives` those of the input `skip_target_ids (batch, targets)` in column 0.
    For `"keep"`, with the input `target_ids`, there is `keep (batch, targets, 1)`: the log odds
    that the target, which may have been skipped, was kept.

    A model with `"keep"` ranks by `score = s + keep_weight * b`, with `s` the logit of
    `next_item`, which says what is shown next, and `b` the keep bias of the item
    (`keras_negrec.layers.KeepLogit`): by how likely an item is both shown and kept.

    `training_dataset` makes all of this from `Sessions` or from prepared data.

    Args:
        num_items: int. Size of the catalogue. Default: that of `vocabulary`.
        max_length: int. The most events the encoder sees.
        embedding_dim: int. Width of item and prediction vectors.
        dropout: float from 0 up to but not including 1.
        event_dropout: float from 0 up to but not including 1. The share of a history's events
            that is hidden from the encoder at each training step.
        positions: bool or None. Whether the encoder is told the position of each event; None is
            what its paper does. Without, a causal encoder still sees each event after the ones
            before it.
        negative_loss: bool, str, or sequence of str: which negative-feedback losses the model
            has outputs for, `"contrastive"` (True is the same), `"not_to_recommend"` and
            `"keep"`.
        context: what the contrastive loss moves: `"hidden"`, the prediction vectors, or
            `"item"`, the item vectors themselves.
        keep_weight: float of at least 0. How much an item's keep bias counts in its score, for
            models with `"keep"`. Training does not depend on it, and the attribute of that name
            can be set at any time: 0 ranks by what is shown alone, and more pushes items that are
            often skipped further down.
        similarity: `"cosine"` or `"dot"`: how the contrastive loss compares.
        num_sampled_negatives: int or None. How many sampled negatives stand for the catalogue in
            training; None is the full softmax.
        fused_softmax: bool. Whether the output `next_item` of a full softmax is the loss and not
            the logits: less memory and time, and no metrics of the logits. Its loss in `compile`
            is `keras_negrec.losses.Identity`. Not for `jit_compile=True` on TensorFlow, which
            makes it several times slower than the logits.
        sampling_distribution: `"uniform"`, `"log_uniform"`, `"in_batch"` or `"mixed"`: what they
            are drawn from, see `keras_negrec.layers.NegativeSampler`.
        log_q_correction: bool. Whether the logits are corrected for how often an item is drawn,
            as a softmax wants it. Binary and pairwise losses are used without.
        skips_as_negatives: bool. Whether a session's skipped items are negatives beside the sampled
            ones.
        feedback_inputs: bool. Whether the encoder sees how each event was received.
        max_sessions: int or None. For histories of several sessions, how many sessions back
            are told apart; the model then has the input `session_ids`.
        num_features: int or None. How many numbers describe each item, for item vectors that
            are made of these too; give them to `model.item_embedding.set_features`.
        target: what training predicts, `"next_positive"` or `"next"`, whatever is shown next. The
            default is `"next_positive"`, and with `"keep"`, which needs it, `"next"`.
        vocabulary: `Vocabulary` or None. Is saved with the model.
        dtype: dtype or dtype policy of the layers.
        name: str or None.
        **encoder_options: arguments of the subclass's own encoder.

    Raises:
        ValueError: an argument that is unknown or outside of its range; `num_items` against
            `vocabulary`; `skips_as_negatives` or `sampling_distribution` without `num_sampled_negatives`;
            `keep_weight` without `"keep"`; `"keep"` with another target than `"next"` or
            together with `"not_to_recommend"`; `fused_softmax` with `num_sampled_negatives` or
            `"not_to_recommend"`, which needs the logits.
    """

    causal: bool
    has_positions: bool
    transform_predictions: bool
    encoder_defaults: ClassVar[dict]
    # (embedding_dim, dropout, dtype, **encoder_options) -> encode, a function
    # (x, padding_mask, positions) -> what `TakePositions` takes of the outputs, from
    # x (batch, length, embedding_dim)
    build_encoder: ClassVar[Callable]

    def __init__(
        self,
        num_items=None,
        *,
        max_length=50,
        embedding_dim=64,
        dropout=0.2,
        event_dropout=0.0,
        positions=None,
        negative_loss=False,
        context="hidden",
        keep_weight=1.0,
        similarity="cosine",
        num_sampled_negatives=None,
        fused_softmax=False,
        sampling_distribution="uniform",
        log_q_correction=True,
        skips_as_negatives=False,
        feedback_inputs=False,
        max_sessions=None,
        num_features=None,
        target=None,
        vocabulary=None,
        dtype=None,
        name=None,
        trainable=True,
        **encoder_options,
    ):
        for option in encoder_options:
            if option not in self.encoder_defaults:
                raise ValueError(
                    f"{type(self).__name__} has no argument `{option}`; its encoder's are "
                    f"{', '.join(self.encoder_defaults)}. Received: "
                    f"{option}={encoder_options[option]!r}"
                )
        encoder_options = {**self.encoder_defaults, **encoder_options}
        num_items = check_num_items(num_items, vocabulary)
        check_positive_int("max_length", max_length)
        check_positive_int("embedding_dim", embedding_dim)
        check_fraction("dropout", dropout)
        check_fraction("event_dropout", event_dropout)
        positions = self.has_positions if positions is None else bool(positions)
        if max_sessions is not None and not positions and self.has_positions:
            raise ValueError(
                "`max_sessions` needs positions. Received: positions=False, "
                f"max_sessions={max_sessions}"
            )
        negative_losses = negative_loss_names(negative_loss)
        keep = "keep" in negative_losses
        if target is None:
            target = "next" if keep else "next_positive"
        check_target(target, "not_to_recommend" in negative_losses, keep)
        _check_keep_weight(keep_weight, keep or keep_weight == 1)
        check_choice("context", context, ("hidden", "item"))
        check_choice("similarity", similarity, ("cosine", "dot"))
        if num_sampled_negatives is not None:
            check_positive_int("num_sampled_negatives", num_sampled_negatives)
        elif skips_as_negatives:
            raise ValueError(
                "`skips_as_negatives` adds to sampled negatives, and the full softmax has all items "
                "as negatives already. Received: skips_as_negatives=True, num_sampled_negatives=None"
            )
        elif sampling_distribution != "uniform":
            raise ValueError(
                "`sampling_distribution` is what sampled negatives are drawn from. Received: "
                f"sampling_distribution={sampling_distribution!r}, num_sampled_negatives=None"
            )
        if fused_softmax and (
            num_sampled_negatives is not None or "not_to_recommend" in negative_losses
        ):
            raise ValueError(
                "`fused_softmax` is a full softmax without logits, and goes with neither "
                '`num_sampled_negatives` nor the loss "not_to_recommend". '
                f"Received: fused_softmax=True, num_sampled_negatives={num_sampled_negatives}, "
                f"negative_loss={list(negative_losses)}"
            )
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())

        item_embedding = layers.ItemEmbedding(
            num_items,
            embedding_dim,
            mask_token=not self.causal,
            num_features=num_features,
            dtype=policy,
            name="item_embedding",
        )
        hide_events = (
            layers.EventDropout(event_dropout, max_id=num_items, dtype=policy, name="event_dropout")
            if event_dropout
            else None
        )
        position_embedding = (
            layers.SessionPositionEmbedding(
                max_length, max_sessions, dtype=policy, name="position_embedding"
            )
            if positions or max_sessions is not None
            else None
        )
        feedback_embedding = (
            layers.FeedbackEmbedding(dtype=policy, name="feedback_embedding")
            if feedback_inputs
            else None
        )
        encoder = self.build_encoder(embedding_dim, dropout, policy, **encoder_options)
        head = layers.PredictionHead(
            transform=self.transform_predictions, dtype=policy, name="prediction_head"
        )

        def encode(inputs, positions):
            item_ids, feedback = inputs["item_ids"], inputs.get("feedback")
            if hide_events is not None:
                item_ids = hide_events(item_ids)
            padding_mask = keras.ops.not_equal(item_ids, 0)
            x = item_embedding(item_ids)
            if position_embedding is not None:
                session_ids = [] if max_sessions is None else [inputs["session_ids"]]
                x = position_embedding(x, *session_ids)
            if feedback_embedding is not None:
                x = feedback_embedding(x, keras.ops.where(padding_mask, feedback, 0))
            return head(encoder(x, padding_mask, positions))

        encoder_inputs = ["item_ids"]
        encoder_inputs += ["feedback"] if feedback_inputs else []
        encoder_inputs += ["session_ids"] if max_sessions is not None else []
        names = [*encoder_inputs, "target_positions"]
        sampled = num_sampled_negatives is not None
        names += ["target_ids"] if sampled or fused_softmax or keep else []
        names += ["skipped_ids"] if skips_as_negatives else []
        names += ["candidate_ids"] if "contrastive" in negative_losses else []
        names += ["skip_target_ids"] if sampled and "not_to_recommend" in negative_losses else []
        inputs = {key: keras.Input((None,), dtype="int32", name=key) for key in names}

        predictions = encode(inputs, inputs["target_positions"])
        sampler = None
        if fused_softmax:
            logits = item_embedding(predictions, reverse=True, target_ids=inputs["target_ids"])
        elif not sampled:
            logits = skip_logits = item_embedding(predictions, reverse=True)
        else:
            sampler = layers.NegativeSampler(
                num_items,
                num_sampled_negatives,
                sampling_distribution,
                dtype=policy,
                name="negative_sampler",
            )
            logits, skip_logits = _sampled_logits(
                item_embedding, sampler, predictions, inputs, log_q_correction
            )
        outputs = {"next_item": logits}
        if "contrastive" in negative_losses:
            candidates = item_embedding(inputs["candidate_ids"])
            outputs["contrastive"] = layers.FeedbackSimilarity(
                similarity, dtype=policy, name="feedback_similarity"
            )(predictions if context == "hidden" else candidates, candidates)
        if "not_to_recommend" in negative_losses:
            outputs["not_to_recommend"] = skip_logits
        keep_logit = layers.KeepLogit(num_items, dtype=policy, name="keep_logit") if keep else None
        if keep_logit is not None:
            outputs["keep"] = keep_logit(predictions, inputs["target_ids"])
        super().__init__(inputs=inputs, outputs=outputs, name=name, trainable=trainable)
        self.dtype_policy = policy

        self.num_items = num_items
        self.max_length = max_length
        self.item_embedding = item_embedding
        self.vocabulary = vocabulary
        self.negative_losses = negative_losses
        self._sampler = sampler
        self._keep_logit = keep_logit
        self._encode = encode
        self._encoder_inputs = encoder_inputs
        self._config = {
            "num_items": self.num_items,
            "max_length": max_length,
            "embedding_dim": embedding_dim,
            "dropout": dropout,
            "event_dropout": event_dropout,
            "positions": positions,
            "negative_loss": list(negative_losses),
            "context": context,
            "keep_weight": keep_weight,
            "similarity": similarity,
            "num_sampled_negatives": num_sampled_negatives,
            "fused_softmax": fused_softmax,
            "sampling_distribution": sampling_distribution,
            "log_q_correction": log_q_correction,
            "skips_as_negatives": skips_as_negatives,
            "feedback_inputs": feedback_inputs,
            "max_sessions": max_sessions,
            "num_features": num_features,
            "target": target,
            "dtype": keras.dtype_policies.serialize(policy),
            **encoder_options,
        }

    @property
    def mask_id(self) -> int:
        """The id of the mask token of a cloze model, one past the last item."""
        return self.num_items + 1

    @property
    def keep_weight(self) -> float:
        """How much an item's keep bias counts in its score, for models with `"keep"`."""
        return self._config["keep_weight"]

    @keep_weight.setter
    def keep_weight(self, keep_weight: float) -> None:
        _check_keep_weight(keep_weight, self._keep_logit is not None)
        self._config["keep_weight"] = keep_weight

    @property
    def _trains_by_rows(self) -> bool:
        # Sampled objectives read the item table by look-ups alone.
        return self._sampler is not None

    @property
    def _target_options(self) -> dict:
        """What the model's training targets must know of it."""
        config = self._config
        return {
            "target": config["target"],
            "contrastive": (config["context"] if "contrastive" in self.negative_losses else None),
            "not_to_recommend": "not_to_recommend" in self.negative_losses,
            "keep": "keep" in self.negative_losses,
            "sampled": config["num_sampled_negatives"] is not None or config["fused_softmax"],
            "skips_as_negatives": config["skips_as_negatives"],
        }

    def targets(self, seed: int = 0):
        """The transformation from batches of rows to what this model is fitted on.

        Next-item targets for causal encoders; others have their own.
        """
        return NextItemTargets(**self._target_options)

    def training_dataset(
        self,
        sessions: TrainingData,
        *,
        batch_size: int = 128,
        shuffle: bool = True,
        seed: int = 0,
        **stream_options,
    ) -> tf.data.Dataset:
        """What `fit` takes: batches of the sessions with this model's training targets.

        Also tells in-batch and mixed negative sampling how frequent the items are in them, and
        with `num_features` the item vectors which items occur.

        Args:
            sessions: `Sessions`, ids of this model's catalogue, or `Prepared`, whose training
                rows are then streamed from its folder.
            batch_size: int. Rows in a batch.
            shuffle: bool. Draw a new order at each epoch.
            seed: int. The same seed gives the same epochs, masks included.
            **stream_options: further arguments of `TrainingData.batches`: `start_step`,
                `repeat`, `worker`, `num_workers`, `buffer_events`.

        Returns:
            A `tf.data.Dataset` of `(x, y, sample_weight)`.

        Raises:
            ValueError: an item id above `num_items`, or prepared data with another vocabulary
                than the model's; no sessions.
            TypeError: an unknown option.
        """
        self._check_catalogue(sessions)
        if self.item_embedding.num_features is not None:
            self.item_embedding.adapt(sessions.item_counts(self.num_items))
        if self._config["sampling_distribution"] in ("in_batch", "mixed") and self._sampler:
            positive = self._config["target"] != "next"
            self._sampler.adapt(sessions.item_counts(self.num_items, positive=positive))
        options = {
            "batch_size": batch_size,
            "max_length": self.max_length + self.causal,  # the last event is a target only
            "overlap": int(self.causal),
            "shuffle": shuffle,
            "seed": seed,
            **stream_options,
        }
        batches = sessions.batches(with_steps=True, **options)
        names = list(self.input)  # Keras mixes up inputs when given more than it knows

        def keep_own_inputs(x, y, sample_weight):
            return {name: x[name] for name in names}, y, sample_weight

        dataset = batches.apply(self.targets(seed)).map(keep_own_inputs)
        return dataset.prefetch(tf.data.AUTOTUNE)

    def _query(self, inputs: dict) -> dict:
        """The encoder's inputs whose last position predicts what follows the history."""
        return inputs

    @functools.cached_property
    def serving_model(self) -> keras.Model:
        """A functional model from histories to the prediction vector of what comes next.

        Inputs are the encoder's (`item_ids`, and `feedback` and `session_ids` where this model
        has them), of shape `(batch, length)`, left-padded; the output has shape
        `(batch, embedding_dim)`, or one more with `"keep"`, like `item_vectors`. Weights are
        shared with this model.
        """
        inputs = {
            key: keras.Input((None,), dtype="int32", name=key) for key in self._encoder_inputs
        }
        last = keras.ops.full_like(inputs["item_ids"][:, :1], -1)
        vectors = self._encode(self._query(inputs), last)[:, 0]
        if self._keep_logit is not None:
            ones = keras.ops.ones_like(vectors[:, :1])
            vectors = keras.ops.concatenate([vectors, ones], axis=-1)
        return keras.Model(inputs, vectors, name=f"{self.name}_serving")

    def item_vectors(self, rows=None):
        """The vectors whose products with those of `serving_model` are the scores of the items.

        Args:
            rows: optional int array of shape `(n,)`: which items, 0 the first. Default: all.

        Returns:
            Float tensor of shape `(num_items, embedding_dim)`, or `(n, embedding_dim)`; with
            `"keep"` of one more column, the keep biases times `keep_weight`.
        """
        vectors = super().item_vectors(rows)
        if self._keep_logit is None:
            return vectors
        bias = self._keep_logit.keep_biases() * self.keep_weight
        bias = bias if rows is None else keras.ops.take(bias, rows, axis=0)
        column = keras.ops.cast(keras.ops.expand_dims(bias, -1), vectors.dtype)
        return keras.ops.concatenate([vectors, column], axis=-1)

    def _check_catalogue(self, rows: TrainingData) -> None:
        super()._check_catalogue(rows)
        if "session_ids" in self._encoder_inputs and "session_ids" not in rows.column_names:
            raise ValueError("This model was built with `max_sessions` and needs `session_ids`.")


def _check_keep_weight(keep_weight, has_keep: bool) -> None:
    is_number = isinstance(keep_weight, int | float) and not isinstance(keep_weight, bool)
    if not is_number or not 0 <= keep_weight < math.inf:
        raise ValueError(f"`keep_weight` must be a number of at least 0. Received: {keep_weight!r}")
    if not has_keep:
        raise ValueError(
            '`keep_weight` is for models with `negative_loss="keep"`. Received: '
            f"keep_weight={keep_weight!r}, and a model without"
        )


def _sampled_logits(item_embedding, sampler, predictions, inputs, log_q_correction):
    """Logits of the targets among sampled negatives, and those of what was skipped, or None."""
    layer = layers.SampledLogits(dtype=sampler.dtype_policy, name="sampled_logits")
    negative_ids, target_log_counts, negative_log_counts = sampler(inputs["target_ids"])
    negatives = item_embedding(negative_ids), negative_ids

    def score(ids, **options):
        if log_q_correction:
            options["negative_log_counts"] = negative_log_counts
        return layer(predictions, item_embedding(ids), ids, *negatives, **options)

    options = {"target_log_counts": target_log_counts} if log_q_correction else {}
    if "skipped_ids" in inputs:
        own_ids = inputs["skipped_ids"]
        options |= {"own_ids": own_ids, "own_embeddings": item_embedding(own_ids)}
    logits, skip_logits = score(inputs["target_ids"], **options), None
    if "skip_target_ids" in inputs:
        # The skipped item is there for certain: only the sample is corrected.
        skip_logits = score(inputs["skip_target_ids"])
    return logits, skip_logits
