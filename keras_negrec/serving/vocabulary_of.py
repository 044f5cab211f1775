"""Which vocabulary a request is answered with, and a model is exported with."""

from __future__ import annotations

import keras

from keras_negrec.data import Vocabulary


def vocabulary_of(model, vocabulary: Vocabulary | None) -> Vocabulary:
    """The vocabulary that was given, else the model's own."""
    vocabulary = vocabulary or getattr(model, "vocabulary", None)
    if vocabulary is None:
        raise ValueError(
            "The model has no vocabulary. Build it with one, or pass `vocabulary=`. Received: "
            "vocabulary=None"
        )
    return vocabulary


def exported_vocabulary(function: str, model, vocabulary: Vocabulary | None) -> Vocabulary:
    """The same, of a model that Keras has trained, so that the function can export it."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`{function}` takes a model that is trained with Keras. Received one of type "
            f"{type(model).__name__}."
        )
    vocabulary = vocabulary_of(model, vocabulary)
    if len(vocabulary) != model.num_items:
        raise ValueError(
            f"The vocabulary must hold the model's {model.num_items} items. Received: "
            f"{len(vocabulary)} items."
        )
    return vocabulary
