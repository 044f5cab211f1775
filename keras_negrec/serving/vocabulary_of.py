"""Which vocabulary a request is answered with."""

from __future__ import annotations

from keras_negrec.data import Vocabulary


def vocabulary_of(model, vocabulary: Vocabulary | None) -> Vocabulary:
    """The vocabulary that was given, else the model's own.

    Raises:
        ValueError: neither is there.
    """
    vocabulary = vocabulary or getattr(model, "vocabulary", None)
    if vocabulary is None:
        raise ValueError(
            "The model has no vocabulary. Build it with one, or pass `vocabulary=`. Received: "
            "vocabulary=None"
        )
    return vocabulary
