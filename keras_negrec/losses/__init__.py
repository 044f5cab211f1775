"""Keras losses that learn from feedback."""

from keras_negrec.losses.bayesian_personalized_ranking import BayesianPersonalizedRanking
from keras_negrec.losses.generalized_binary_crossentropy import GeneralizedBinaryCrossentropy
from keras_negrec.losses.identity import Identity
from keras_negrec.losses.negative_feedback_contrastive import NegativeFeedbackContrastive
from keras_negrec.losses.not_to_recommend import NotToRecommend

__all__ = [
    "BayesianPersonalizedRanking",
    "GeneralizedBinaryCrossentropy",
    "Identity",
    "NegativeFeedbackContrastive",
    "NotToRecommend",
]


def __dir__():
    return __all__
