"""Keras metrics of the training targets."""

from keras_negrec.metrics.feedback_auc import FeedbackAUC
from keras_negrec.metrics.hit_rate import HitRate
from keras_negrec.metrics.mrr import MRR
from keras_negrec.metrics.ndcg import NDCG

__all__ = [
    "MRR",
    "NDCG",
    "FeedbackAUC",
    "HitRate",
]


def __dir__():
    return __all__
