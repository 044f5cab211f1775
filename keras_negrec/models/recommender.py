"""What all models that are trained with Keras share."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_negrec.argument_checks import check_item_ids
from keras_negrec.data import Prepared, Sessions, Vocabulary
from keras_negrec.layers import ItemEmbedding


class Recommender(keras.Model):
    """A Keras model that scores the whole catalogue and saves its vocabulary with it.

    A subclass sets `item_embedding`, `vocabulary` and `_config`, the arguments that build it
    again, and gives `serving_model`.
    """

    num_items: int
    item_embedding: ItemEmbedding
    vocabulary: Vocabulary | None
    serving_model: keras.Model
    _config: dict

    def item_vectors(self):
        """The vectors whose products with those of `serving_model` are the scores of the items.

        Returns:
            Float tensor of shape `(num_items, dim)`.
        """
        return self.item_embedding.table()

    def _scores(self, inputs: dict, batch_size: int) -> np.ndarray:
        vectors = self.serving_model.predict(inputs, batch_size=batch_size, verbose=0)
        table = ops.convert_to_numpy(ops.cast(self.item_vectors(), "float32"))
        return np.matmul(vectors.astype("float32"), table.T)

    def _check_catalogue(self, rows: Sessions | Prepared) -> None:
        """A `ValueError` unless all ids are of this model's catalogue."""
        if isinstance(rows, Sessions):
            check_item_ids(rows.item_ids, self.num_items)
        elif len(rows.vocabulary) > self.num_items:
            raise ValueError(
                f"The model knows {self.num_items} items. Received prepared data with "
                f"{len(rows.vocabulary)}."
            )
        elif self.vocabulary is not None and self.vocabulary != rows.vocabulary:
            raise ValueError(
                "The model and the prepared data must have the same vocabulary. Received "
                f"{self.vocabulary} and {rows.vocabulary}, with different items or another order."
            )

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
