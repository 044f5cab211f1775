"""Which models can be exported."""

from __future__ import annotations

from keras_negrec.models.recommender import Recommender


def check_recommender(function: str, model) -> None:
    """A `TypeError` that names the function unless Keras trains the model."""
    if not isinstance(model, Recommender):
        raise TypeError(
            f"`{function}` takes a model that is trained with Keras. Received one of type "
            f"{type(model).__name__}."
        )
