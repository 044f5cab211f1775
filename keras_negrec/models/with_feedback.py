"""The same model with other feedback terms."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_negrec.models.feedback import FeedbackTerm
from keras_negrec.models.session_recommender import SessionRecommender


def with_feedback(
    model: SessionRecommender, feedback: Sequence[FeedbackTerm], *, optimizer=None
) -> SessionRecommender:
    """A copy of a model, as trained as it is, that goes on to learn with other feedback terms.

    For a second stage of training: first what comes next, then what was skipped. What training
    predicts, the next item or the next kept one, stays as it was unless a term says otherwise.

    Args:
        model: `SessionRecommender`. It is not changed.
        feedback: feedback terms in place of the model's own. They start anew.
        optimizer: a Keras optimizer, or its name. Default: one like the model's, without its state.

    Returns:
        A compiled model of the class of `model`.

    Raises:
        ValueError: terms that do not go with the model's objective.

    Example: see `keras_negrec.models.feedback.Preference`.
    """
    config = keras.saving.deserialize_keras_object(model.get_config())
    if not any(term.target for term in feedback):
        config["objective"].target = model.target
    second = type(model)(**{**config, "feedback": list(feedback)})
    second.vocabulary, second.preparation = model.vocabulary, model.preparation
    second.feature_encoder = model.feature_encoder
    old, new = (keras.Model(each.input, each.output["next_item"]) for each in (model, second))
    new.set_weights(old.get_weights())
    if optimizer is None and model.compiled:
        optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
    second.compile(optimizer or "adam")
    return second
