"""Feedback terms: how skips and likes are learned."""

from keras_negrec.models.feedback.contrastive import Contrastive
from keras_negrec.models.feedback.feedback_term import FeedbackTerm
from keras_negrec.models.feedback.keep import Keep
from keras_negrec.models.feedback.not_to_recommend import NotToRecommend
from keras_negrec.models.feedback.preference import Preference

__all__ = [
    "FEEDBACK_TERMS",
    "Contrastive",
    "FeedbackTerm",
    "Keep",
    "NotToRecommend",
    "Preference",
]


def __dir__():
    return __all__


# The names that `build_model(negative_loss=...)` takes.
FEEDBACK_TERMS = {term.name: term for term in (Contrastive, NotToRecommend, Keep, Preference)}
