"""Keras metrics of the training targets."""

from keras_negrec.metrics.feedback_auc import FeedbackAUC
from keras_negrec.metrics.rank_metrics import MRR, NDCG, HitRate

__all__ = [
    "MRR",
    "NDCG",
    "FeedbackAUC",
    "HitRate",
]


def __dir__():
    return __all__
