"""Feedback terms: how skips and likes are learned."""

from keras_negrec.models.feedback.contrastive import Contrastive
from keras_negrec.models.feedback.feedback_term import FeedbackTerm
from keras_negrec.models.feedback.keep import Keep
from keras_negrec.models.feedback.not_to_recommend import NotToRecommend

# The names that `build_model(negative_loss=...)` takes; True is the first one.
FEEDBACK_TERMS: dict[str, type[FeedbackTerm]] = {
    "contrastive": Contrastive,
    "not_to_recommend": NotToRecommend,
    "keep": Keep,
}

__all__ = ["FEEDBACK_TERMS", "Contrastive", "FeedbackTerm", "Keep", "NotToRecommend"]


def __dir__():
    return __all__
