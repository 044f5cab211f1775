"""What all sequential models of the package share."""

from __future__ import annotations

import functools
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_negrec import layers
from keras_negrec.argument_checks import check_choice, check_fraction, check_positive_int
from keras_negrec.data import Sessions, Vocabulary, session_batches


class SessionRecommender(keras.Model):
    """A functional Keras model from sessions to scores of the whole catalogue.

    Subclasses give the encoder: `SASRec`, `BERT4Rec`. The graph, on a dict of inputs:

        item_ids (batch, length)          item vectors + positions [+ feedback], encoder
        target_positions (batch, targets) where to predict: prediction vectors
        -> "next_item": (batch, targets, num_items), column j the score of item j + 1

    and with `num_negatives`, where `target_ids (batch, targets)` is one more input, `next_item`
    is (batch, targets, 1 + num_negatives) with the target in column 0. With `negative_loss`,
    `candidate_ids (batch, candidates)` gives a second output `negative_feedback`: the cosines
    (batch, contexts, candidates) of each context with the session's own items.

    `training_dataset` makes all of this from `Sessions`.

    Args:
        num_items: int. Size of the catalogue. Default: that of `vocabulary`.
        max_length: int. The most events the encoder sees.
        embedding_dim: int. Width of item vectors and encoder.
        num_layers: int. Transformer blocks.
        num_heads: int. Attention heads; must divide `embedding_dim`.
        intermediate_dim: int or None. Width of the feed-forward networks; None is 4 times
            `embedding_dim`.
        dropout: float from 0 up to but not including 1.
        negative_loss: bool. Whether the model has the output `negative_feedback`.
        context: what the negative-feedback loss moves: `"hidden"`, the prediction vectors, or
            `"item"`, the item vectors themselves.
        num_negatives: int or None. How many sampled negatives stand for the catalogue in
            training; None is the full softmax.
        negative_distribution: `"uniform"` or `"log_uniform"`: what they are drawn from.
        feedback_inputs: bool. Whether the encoder sees how each event was received.
        max_sessions: int or None. For histories of several sessions, how many sessions back
            are told apart; the model then has the input `session_ids`.
        target: `"next_positive"` or `"next"`: what training predicts.
        vocabulary: `Vocabulary` or None. Is saved with the model.
        dtype: dtype or dtype policy of the layers.
        name: str or None.

    Raises:
        ValueError: an argument outside of its range, or `num_items` against `vocabulary`.
    """

    causal: bool
    transform_predictions: bool

    def __init__(
        self,
        num_items=None,
        *,
        max_length=50,
        embedding_dim=64,
        num_layers=2,
        num_heads=2,
        intermediate_dim=None,
        dropout=0.2,
        negative_loss=False,
        context="hidden",
        num_negatives=None,
        negative_distribution="uniform",
        feedback_inputs=False,
        max_sessions=None,
        target="next_positive",
        vocabulary=None,
        dtype=None,
        name=None,
        **kwargs,
    ):
        if num_items is None and vocabulary is not None:
            num_items = len(vocabulary)
        check_positive_int("num_items", num_items)
        if vocabulary is not None and len(vocabulary) != num_items:
            raise ValueError(
                f"`num_items` must be the size of the vocabulary, {len(vocabulary)}. Received: "
                f"num_items={num_items}"
            )
        check_positive_int("max_length", max_length)
        check_positive_int("embedding_dim", embedding_dim)
        check_positive_int("num_layers", num_layers)
        check_positive_int("num_heads", num_heads)
        if intermediate_dim is None:
            intermediate_dim = 4 * embedding_dim
        check_fraction("dropout", dropout)
        check_choice("context", context, ("hidden", "item"))
        check_choice("target", target, ("next_positive", "next"))
        if num_negatives is not None:
            check_positive_int("num_negatives", num_negatives)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())

        item_embedding = layers.ItemEmbedding(
            num_items,
            embedding_dim,
            mask_token=not self.causal,
            dtype=policy,
            name="item_embedding",
        )
        position_embedding = layers.SessionPositionEmbedding(
            max_length, max_sessions, dtype=policy, name="position_embedding"
        )
        feedback_embedding = (
            layers.FeedbackEmbedding(dtype=policy, name="feedback_embedding")
            if feedback_inputs
            else None
        )
        embedding_norm = keras.layers.LayerNormalization(
            epsilon=1e-6, dtype=policy, name="embedding_norm"
        )
        embedding_dropout = keras.layers.Dropout(dropout, dtype=policy, name="embedding_dropout")
        blocks = [
            layers.TransformerBlock(
                intermediate_dim,
                num_heads,
                dropout,
                causal=self.causal,
                dtype=policy,
                name=f"transformer_block_{i}",
            )
            for i in range(num_layers)
        ]
        head = layers.PredictionHead(
            transform=self.transform_predictions, dtype=policy, name="prediction_head"
        )

        def encode(inputs):
            padding_mask = keras.ops.not_equal(inputs["item_ids"], 0)
            x = item_embedding(inputs["item_ids"])
            if max_sessions is None:
                x = position_embedding(x)
            else:
                x = position_embedding(x, inputs["session_ids"])
            if feedback_embedding is not None:
                x = feedback_embedding(x, inputs["feedback"])
            x = embedding_dropout(embedding_norm(x))
            for block in blocks:
                x = block(x, padding_mask)
            return x  # (batch, length, embedding_dim)

        encoder_inputs = ["item_ids"]
        encoder_inputs += ["feedback"] if feedback_inputs else []
        encoder_inputs += ["session_ids"] if max_sessions is not None else []
        names = [*encoder_inputs, "target_positions"]
        names += ["target_ids"] if num_negatives is not None else []
        names += ["candidate_ids"] if negative_loss else []
        inputs = {key: keras.Input((None,), dtype="int32", name=key) for key in names}

        predictions = head(encode(inputs), inputs["target_positions"])
        if num_negatives is None:
            logits = item_embedding(predictions, reverse=True)
        else:
            negative_ids = layers.NegativeSampler(
                num_items,
                num_negatives,
                negative_distribution,
                dtype=policy,
                name="negative_sampler",
            )(inputs["target_ids"])
            logits = layers.SampledLogits(
                num_items, negative_distribution, dtype=policy, name="sampled_logits"
            )(
                predictions,
                item_embedding(inputs["target_ids"]),
                inputs["target_ids"],
                item_embedding(negative_ids),
                negative_ids,
            )
        outputs = {"next_item": logits}
        if negative_loss:
            candidates = item_embedding(inputs["candidate_ids"])
            outputs["negative_feedback"] = layers.FeedbackSimilarity(
                dtype=policy, name="feedback_similarity"
            )(predictions if context == "hidden" else candidates, candidates)
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)

        self.num_items = int(num_items)
        self.max_length = max_length
        self.item_embedding = item_embedding
        self.vocabulary = vocabulary
        self._encode = encode
        self._head = head
        self._encoder_inputs = encoder_inputs
        self._config = {
            "num_items": self.num_items,
            "max_length": max_length,
            "embedding_dim": embedding_dim,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "intermediate_dim": intermediate_dim,
            "dropout": dropout,
            "negative_loss": negative_loss,
            "context": context,
            "num_negatives": num_negatives,
            "negative_distribution": negative_distribution,
            "feedback_inputs": feedback_inputs,
            "max_sessions": max_sessions,
            "target": target,
            "dtype": keras.dtype_policies.serialize(policy),
        }

    @property
    def mask_id(self) -> int:
        """The id of the mask token of a cloze model, one past the last item."""
        return self.num_items + 1

    def targets(self, seed: int = 0):
        """The transformation from batches of rows to what this model is fitted on."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it is trained on.")

    def training_dataset(
        self, sessions: Sessions, *, batch_size: int = 128, shuffle: bool = True, seed: int = 0
    ) -> tf.data.Dataset:
        """What `fit` takes: batches of the sessions with this model's training targets.

        Args:
            sessions: `Sessions`, ids of this model's catalogue.
            batch_size: int. Rows in a batch.
            shuffle: bool. Draw a new order at each epoch.
            seed: int. The same seed gives the same epochs, masks included.

        Returns:
            A `tf.data.Dataset` of `(x, y, sample_weight)`.

        Raises:
            ValueError: an item id above `num_items`; no sessions.
        """
        self._check_ids(sessions)
        batches = session_batches(
            sessions,
            batch_size=batch_size,
            max_length=self.max_length + self.causal,  # the last event is a target only
            overlap=int(self.causal),
            shuffle=shuffle,
            seed=seed,
        )
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
        `(batch, embedding_dim)`. Weights are shared with this model.
        """
        inputs = {
            key: keras.Input((None,), dtype="int32", name=key) for key in self._encoder_inputs
        }
        hidden = self._encode(self._query(inputs))
        vectors = self._head(hidden[:, -1, :])
        return keras.Model(inputs, vectors, name=f"{self.name}_serving")

    def score(self, histories: Sessions, *, batch_size: int = 256) -> np.ndarray:
        """Scores of every item as the next one after each history.

        Args:
            histories: `Sessions`; the newest `max_length` events of each row count.
            batch_size: int. Rows that are encoded at once.

        Returns:
            float32 array of shape `(num_rows, num_items)`, column `j` for item `j + 1`.

        Raises:
            ValueError: an item id above `num_items`.
        """
        self._check_ids(histories)
        batch = histories.padded(self.max_length)
        inputs = {key: batch[key] for key in self._encoder_inputs}
        vectors = self.serving_model.predict(inputs, batch_size=batch_size, verbose=0)
        table = keras.ops.convert_to_numpy(self.item_embedding.embeddings)
        return np.matmul(vectors.astype("float32"), table.astype("float32").T)

    def _check_ids(self, sessions: Sessions) -> None:
        if sessions.num_events and sessions.item_ids.max() > self.num_items:
            raise ValueError(
                f"Item ids must lie in 1..{self.num_items}. Received: {sessions.item_ids.max()}"
            )
        if "session_ids" in self._encoder_inputs and sessions.session_ids is None:
            raise ValueError("This model was built with `max_sessions` and needs `session_ids`.")

    def get_config(self):
        return {**self._config, "name": self.name, "trainable": self.trainable}

    def get_compile_config(self):
        config = super().get_compile_config()
        optimizer = config.get("optimizer")
        # On PyTorch, Keras names private subclasses here, which train on no other backend.
        if isinstance(optimizer, dict) and ".backend.torch." in optimizer["module"]:
            config["optimizer"] = {
                **optimizer,
                "module": "keras.optimizers",
                "registered_name": None,
            }
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)

    def save_assets(self, dir_path):
        """Writes the vocabulary into the `.keras` file."""
        if self.vocabulary is not None:
            self.vocabulary.save(Path(dir_path) / "vocabulary.json")

    def load_assets(self, dir_path):
        """Reads the vocabulary back."""
        path = Path(dir_path) / "vocabulary.json"
        if path.exists():
            self.vocabulary = Vocabulary.load(path)
