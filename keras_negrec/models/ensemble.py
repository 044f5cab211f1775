"""Several models that answer as one."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import keras
import numpy as np
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
        ValueError: no model; models of different catalogues, or of which some recommend items of
            the history and some do not.

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
        for model in models:
            if not isinstance(model, Recommender):
                raise TypeError(
                    "`models` must be models that are trained with Keras. Received one of type "
                    f"{type(model).__name__}"
                )
        vocabulary = common_vocabulary(models)
        # Layers of one model must have different names.
        copies = [model.clone(name=f"model_{i}") for i, model in enumerate(models)]
        inputs: dict = {}
        for copy in copies:
            for key, tensor in copy.serving_model.input.items():
                inputs.setdefault(key, keras.Input((None,), dtype=tensor.dtype, name=key))
        vectors = []
        for copy in copies:
            serving_model = copy.serving_model
            newest = {key: inputs[key][:, -copy.max_length :] for key in serving_model.input}
            vectors.append(ops.cast(serving_model(newest), "float32") / len(copies))
        outputs = ops.concatenate(vectors, axis=-1)
        super().__init__(inputs=inputs, outputs=outputs, name=name, trainable=trainable)
        self.models = copies
        self.num_items = copies[0].num_items
        self.exclude_seen = common_exclude_seen(models)
        self.max_length = max(copy.max_length for copy in copies)
        self.vocabulary = vocabulary

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

    @property
    def ranking_columns(self):
        found: dict[str, list[slice]] = {}
        start = 0
        for model in self.models:
            for name, columns in model.ranking_columns.items():
                moved = [slice(start + each.start, start + each.stop) for each in columns]
                found.setdefault(name, []).extend(moved)
            start += model.serving_model.output.shape[-1]
        return found

    @property
    def ranking_weights(self):
        """Those of its models, as far as they agree."""
        found: dict[str, set[float]] = {}
        for model in self.models:
            for name, weight in model.ranking_weights.items():
                found.setdefault(name, set()).add(weight)
        return {name: weights.pop() for name, weights in found.items() if len(weights) == 1}

    def _column_weights(self):
        return np.concatenate([model.column_weights() for model in self.models])

    def item_vectors(self, rows=None):
        vectors = [ops.cast(model.item_vectors(rows), "float32") for model in self.models]
        return ops.concatenate(vectors, axis=-1)

    def get_config(self):
        models = keras.saving.serialize_keras_object(list(self.models))
        return {"models": models, "name": self.name, "trainable": self.trainable}


def common_vocabulary(models: Sequence):
    """The vocabulary of models of one catalogue, of which some may have none."""
    if not models:
        raise ValueError("`models` must hold at least one model. Received: none.")
    found = [(model.num_items, getattr(model, "vocabulary", None)) for model in models]
    vocabulary = next((each for _, each in found if each is not None), None)
    for num_items, each in found:
        if num_items != found[0][0] or each not in (None, vocabulary):
            raise ValueError(
                "`models` must be of one catalogue. Received models of "
                f"{found[0][0]} items ({vocabulary}) and of {num_items} ({each})."
            )
    return vocabulary


def common_exclude_seen(models: Sequence) -> bool:
    """The setting of all models that have one, and else True."""
    found = {model.exclude_seen for model in models if hasattr(model, "exclude_seen")}
    if len(found) > 1:
        raise ValueError("`exclude_seen` must be the same in all models. Received: both.")
    return found.pop() if found else True
