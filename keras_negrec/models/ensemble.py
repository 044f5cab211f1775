"""Several models that answer as one."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import keras
from keras import ops

from keras_negrec.models.recommender import Recommender


@keras.saving.register_keras_serializable(package="keras_negrec")
class Ensemble(Recommender):
    """Trained models as one, whose score of an item is the mean of their scores.

    Its vectors are those of the models side by side, so that it is evaluated, saved and exported
    like a single model that is as wide as they are together. The scores should be of one kind: of
    one encoder trained with several seeds, or of several encoders trained with the same losses.

    It holds copies of the models, which do not change when the models are trained on, and is not
    trained itself.

    Args:
        models: models of this package that are trained with Keras, of one catalogue.
        name: str or None.

    Attributes:
        models: the copies, in order.
        max_length: int. The most events that one of them sees.

    Raises:
        TypeError: something that is no such model.
        ValueError: no model; models of different catalogues.

    Example:

    >>> models = [keras_negrec.build_model(name, num_items=9) for name in ("sasrec", "gru4rec")]
    >>> ensemble = keras_negrec.models.Ensemble(models)
    >>> tuple(ensemble.item_vectors().shape)
    (9, 128)

    Reference:
        [Hansen & Salamon, 1990](https://doi.org/10.1109/34.58871)
    """

    def __init__(self, models: Sequence[Recommender], *, name=None, trainable=True):
        models = list(models)
        _check(models)
        copies = []
        for i, model in enumerate(models):  # layers of one model must have different names
            copies.append(model.clone(name=f"model_{i}"))
        inputs: dict = {}
        for copy in copies:
            for key, tensor in copy.serving_model.input.items():
                inputs.setdefault(key, keras.Input((None,), dtype=tensor.dtype, name=key))
        vectors = []
        for copy in copies:
            serving_model = copy.serving_model
            newest = {key: inputs[key][:, -copy.max_length :] for key in serving_model.input}
            vectors.append(ops.cast(serving_model(newest), "float32") / len(copies))
        super().__init__(
            inputs=inputs,
            outputs=ops.concatenate(vectors, axis=-1),
            name=name,
            trainable=trainable,
        )
        self.models = copies
        self.num_items = copies[0].num_items
        self.max_length = max(copy.max_length for copy in copies)
        self.vocabulary = models[0].vocabulary

    @functools.cached_property
    def serving_model(self) -> keras.Model:
        """A functional model from histories to prediction vectors, as this one is too."""
        return keras.Model(self.input, self.output, name=f"{self.name}_serving")

    @property
    def item_columns(self):
        found, start = [], 0
        for model in self.models:
            found += [(embedding, start + column) for embedding, column in model.item_columns]
            start += model.serving_model.output.shape[-1]
        return found

    def item_vectors(self, rows=None):
        vectors = [ops.cast(model.item_vectors(rows), "float32") for model in self.models]
        return ops.concatenate(vectors, axis=-1)

    def get_config(self):
        models = [keras.saving.serialize_keras_object(model) for model in self.models]
        return {"models": models, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        models = [
            keras.saving.deserialize_keras_object(model, custom_objects)
            for model in config["models"]
        ]
        return cls(**{**config, "models": models})


def _check(models: list) -> None:
    for model in models:
        if not isinstance(model, Recommender):
            raise TypeError(
                "`models` must be models that are trained with Keras. Received one of type "
                f"{type(model).__name__}"
            )
    if not models:
        raise ValueError("`models` must hold at least one model. Received: none.")
    for model in models[1:]:
        if model.num_items != models[0].num_items or model.vocabulary != models[0].vocabulary:
            raise ValueError(
                "`models` must be of one catalogue. Received models of "
                f"{models[0].num_items} items ({models[0].vocabulary}) and of "
                f"{model.num_items} ({model.vocabulary})."
            )
