"""What all models that are trained with Keras share."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_negrec.argument_checks import check_ranking_weight
from keras_negrec.backend.custom_gradient import forget_custom_gradients
from keras_negrec.backend.keras_private import compile_loss, flatten_layers, portable_config
from keras_negrec.backend.length_multiple import length_multiple
from keras_negrec.backend.table_rows import is_item_table, row_train_step
from keras_negrec.data import Examples, ItemFeatureEncoder, Sessions, TrainingData, Vocabulary
from keras_negrec.data.training.stream_batches import without_autotuning
from keras_negrec.layers import ItemEmbedding
from keras_negrec.models import preset
from keras_negrec.optimizers import LazyAdam, LossScaleOptimizer


class Recommender(keras.Model):
    """A Keras model that scores the whole catalogue and saves its vocabulary with it.

    `exclude_seen` says whether items of a history are left out of what is recommended after it, in
    `recommend`, exports and evaluation.

    Saved with it, too, are `preparation`, the rules that made its events, and `feature_encoder`,
    which made its item features; both are None until `save_to_preset` is given them.

    A subclass sets `item_embedding`, `vocabulary` and `_config`, the arguments that build it
    again, and gives `serving_model` and `_training_batches`.
    """

    num_items: int
    max_length: int
    item_embedding: ItemEmbedding
    vocabulary: Vocabulary | None
    preparation: dict | None = None
    feature_encoder: ItemFeatureEncoder | None = None
    serving_model: keras.Model
    exclude_seen: bool = True
    _config: dict
    _trains_by_rows = False  # Whether training reads the items' tables by look-ups alone.

    @functools.wraps(keras.Model.fit)
    def fit(self, *args, **kwargs):
        given = inspect.signature(super().fit).bind(*args, **kwargs).arguments
        callbacks = given.get("callbacks") or []
        callbacks = keras.tree.flatten(getattr(callbacks, "callbacks", callbacks))
        for callback in callbacks:
            if hasattr(callback, "take_part"):  # such as `BackupAndResume`
                callback.take_part([given.get("x"), given.get("validation_data")], callbacks)
        return super().fit(*args, **kwargs)

    def make_train_function(self, force=False):
        optimizer = self.optimizer
        if isinstance(optimizer, LossScaleOptimizer) and keras.config.backend() != "jax":
            optimizer = optimizer.inner_optimizer
        for layer in self._layers_with_rows():
            layer.row_gradients = self._trains_by_rows and isinstance(optimizer, LazyAdam)
        if keras.config.backend() == "tensorflow":
            self._create_training_variables()
        return super().make_train_function(force)

    def _create_training_variables(self):
        """Those of optimizer and losses: TensorFlow traces a step that creates any twice."""
        with self.distribute_strategy.scope():
            if self.optimizer is not None and not self.optimizer.built:
                self.optimizer.build(self.trainable_variables)
            losses = compile_loss(self)
            output, given = self.output, self.loss
            every_output_has_a_loss = (
                isinstance(given, dict) and given.keys() == output.keys()
                if isinstance(output, dict)
                else not keras.tree.is_nested(given)
            )
            if losses is not None and not losses.built and every_output_has_a_loss:
                losses.build(output, output)

    def train_step(self, *state_and_data):
        if keras.config.backend() == "jax":
            layers = [layer for layer in self._layers_with_rows() if layer.row_gradients]
            variables = [variable for layer in layers for variable in layer.trainable_variables]
            if tables := [variable for variable in variables if is_item_table(variable)]:
                return row_train_step(self, tables, *state_and_data)
        found = super().train_step(*state_and_data)
        if keras.config.backend() == "tensorflow":
            forget_custom_gradients()
        return found

    def _layers_with_rows(self) -> list:
        return [layer for layer in flatten_layers(self) if hasattr(layer, "row_gradients")]

    def training_dataset(
        self,
        sessions: TrainingData,
        *,
        batch_size: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        **options,
    ) -> tf.data.Dataset:
        """What `fit` takes: batches of the sessions with this model's training targets.

        Args:
            sessions: `Sessions`, ids of this model's catalogue, or `Prepared`, which is
                streamed from its folder.
            batch_size: int or None. Rows of full length in a batch; of shorter ones it holds more.
                None follows the data: so many that an epoch has about 100 steps, from 16 to 128.
            shuffle: bool. Draw a new order at each epoch.
            seed: int. The same seed gives the same epochs, masks included.
            **options: further arguments of `TrainingData.batches`: `start_step`, `repeat`,
                `worker`, `num_workers`, `buffer_events`.

        Returns:
            A `tf.data.Dataset` of `(x, y, sample_weight)`.

        Raises:
            ValueError: an item id above `num_items`, or prepared data with another vocabulary
                than the model's; nothing to train on; an event column that the model needs and
                the sessions do not have.
            TypeError: something else than sessions; an unknown option.
        """
        self._check_catalogue(sessions)
        if batch_size is None:
            num_full_rows = sessions.item_counts(self.num_items).sum() / self.max_length
            batch_size = int(np.clip(num_full_rows / 100, 16, 128))
        options |= {"batch_size": batch_size, "shuffle": shuffle, "seed": seed}
        return self._training_batches(sessions, options).prefetch(tf.data.AUTOTUNE)

    def _training_batches(self, sessions: TrainingData, options: dict) -> tf.data.Dataset:
        raise NotImplementedError(f"{type(self).__name__} is not trained itself.")

    @property
    def item_columns(self) -> list[tuple[ItemEmbedding, int]]:
        """The layers whose tables are in `item_vectors`, each with its first column there."""
        return [(self.item_embedding, 0)]

    def item_vectors(self, rows=None):
        """The vectors whose products with `history_vectors` are the scores of the items.

        A float tensor of shape `(num_items, dim)`, or `(n, dim)` of the items in `rows`, an int
        array of shape `(n,)` that counts them from 0.
        """
        return self.item_embedding.table(rows)

    @property
    def ranking_columns(self) -> dict[str, list[slice]]:
        """Which columns of the vectors each feedback term fills that takes part in the ranking."""
        return {}

    @property
    def ranking_weights(self) -> dict[str, float]:
        """How much each feedback term that takes part in the ranking counts there."""
        return {}

    def column_weights(self, ranking_weights: Mapping | None = None) -> np.ndarray:
        """What each column of the vectors counts in the ranking: float32 array `(dim,)`.

        Args:
            ranking_weights: mapping from names of feedback terms that rank to floats of at least
                0, in place of the model's own; else a ValueError.
        """
        weights = self._column_weights()
        for name, weight in check_ranking_weights(self, ranking_weights or {}).items():
            for columns in self.ranking_columns[name]:
                weights[columns] = weight
        return weights

    def _column_weights(self) -> np.ndarray:
        return np.ones(self.serving_model.output.shape[-1], "float32")

    def history_vectors(
        self,
        histories: Sessions,
        *,
        ranking_weights: Mapping | None = None,
        batch_size: int = 256,
    ) -> np.ndarray:
        """The vectors of histories for the ranking: float32 array of shape `(num_rows, dim)`.

        Args:
            histories: `Sessions`; the newest `max_length` events of each row count. An item id
                above `num_items` is a ValueError.
            ranking_weights: as for `column_weights`.
            batch_size: int. Rows that are encoded at once.
        """
        self._check_catalogue(histories)
        column_weights = self.column_weights(ranking_weights)
        vectors = np.zeros((len(histories), self.serving_model.output.shape[-1]), "float32")
        lengths = self._padded_lengths(histories)
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            batch = histories.take(rows).padded(length)
            inputs = {name: batch[name] for name in self.serving_model.input}
            batches = tf.data.Dataset.from_tensor_slices(inputs).batch(batch_size)
            batches = without_autotuning(batches.map(_of_any_length))
            vectors[rows] = self.serving_model.predict(batches, verbose=0)
        return vectors * column_weights

    def _padded_lengths(self, histories: Sessions) -> np.ndarray:
        """To which length each row is padded, so that short ones take less time."""
        if keras.config.backend() == "jax":  # compiles a function for each length
            return np.full(len(histories), self.max_length)
        # One event more than there are: cloze models append one, and must not lose the oldest.
        multiple = length_multiple(self.max_length)
        lengths = -(-(histories.lengths + 1) // multiple) * multiple
        return np.minimum(lengths, self.max_length)

    def score(self, histories: Sessions, **options) -> np.ndarray:
        """Scores of every item as the next one after each history, as for `history_vectors`.

        A float32 array of shape `(num_rows, num_items)`, column `j` for item `j + 1`.
        """
        vectors = self.history_vectors(histories, **options)
        table = ops.convert_to_numpy(ops.cast(self.item_vectors(), "float32"))
        return np.matmul(vectors, table.T)

    def _check_catalogue(self, rows: TrainingData) -> None:
        """An error unless all ids are of this model's catalogue."""
        if not isinstance(rows, TrainingData):
            held_out = (
                " For the loss of examples: model.evaluate(model.training_dataset("
                "split.validation.sessions()))"
                if isinstance(rows, Examples)
                else ""
            )
            raise TypeError(
                "Expected `Sessions`, such as the `train` of a `Split` or the `histories` of "
                f"`Examples`, or `Prepared`.{held_out} Received one of type {type(rows).__name__}."
            )
        rows.check_catalogue(self.num_items, self.vocabulary)

    def clone(self, name: str | None = None):
        """A model with the same config, weights, vocabulary and class, under a name if given.

        `keras.models.clone_model` makes a plain functional model of it.
        """
        copy = type(self).from_config({**self.get_config(), "name": name or self.name})
        copy.vocabulary, copy.preparation = self.vocabulary, self.preparation
        copy.feature_encoder = self.feature_encoder
        copy.set_weights(self.get_weights())
        return copy

    def quantize(self, mode=None, **kwargs):
        """As in Keras: quantizes the weights of dense layers, those inside of blocks included."""
        super().quantize(mode, **kwargs)
        self.__dict__.pop("serving_model", None)  # Its functions were traced with float weights.

    def get_config(self):
        return {**self._config, "name": self.name, "trainable": self.trainable}

    def get_compile_config(self):
        config = super().get_compile_config()
        config = {name: portable_config(value) for name, value in config.items()}
        return {**config, "backend": keras.config.backend()}

    def compile_from_config(self, config):
        """Compiles with what `get_compile_config` gave, losses included, on any backend."""
        config = dict(config)
        if config.pop("backend", None) != keras.config.backend():
            config.pop("jit_compile", None)  # What another backend chose is wrong for this one.
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**keras.saving.deserialize_keras_object(config, custom_objects))

    def save_assets(self, dir_path):
        """Writes what is known beside config and weights into a `.keras` file or a preset."""
        folder = Path(dir_path)
        if self.vocabulary is not None:
            self.vocabulary.save(folder / "vocabulary.json")
        if self.preparation is not None:
            text = json.dumps(self.preparation, indent=2, ensure_ascii=False)
            (folder / "preparation.json").write_text(text + "\n", "utf-8")
        if self.feature_encoder is not None:
            self.feature_encoder.save(folder / "item_features.json")

    def load_assets(self, dir_path):
        """Reads back what `save_assets` wrote."""
        folder = Path(dir_path)
        if (path := folder / "vocabulary.json").exists():
            self.vocabulary = Vocabulary.load(path)
        if (path := folder / "preparation.json").exists():
            self.preparation = json.loads(path.read_text("utf-8"))
        if (path := folder / "item_features.json").exists():
            self.feature_encoder = ItemFeatureEncoder.load(path)

    save_to_preset = preset.save_to_preset


def check_ranking_weights(model, weights: Mapping) -> Mapping:
    """The same weights, which must be of terms that rank in the model, and not below 0."""
    for name, weight in weights.items():
        if name not in model.ranking_weights:
            raise ValueError(
                f"The feedback terms that rank in this model are {list(model.ranking_weights)}. "
                f"Received: {name}={weight!r}"
            )
        check_ranking_weight(f"{name}_weight", weight)
    return weights


def _of_any_length(inputs: dict) -> dict:
    """The same batch, whose length is no part of its type: TensorFlow traces `predict` once."""
    return {
        name: tf.raw_ops.PlaceholderWithDefault(input=values, shape=[None, None])
        for name, values in inputs.items()
    }
