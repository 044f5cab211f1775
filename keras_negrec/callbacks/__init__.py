"""Callbacks for `fit`."""

from keras_negrec.callbacks.ranking_evaluation import RankingEvaluation

__all__ = [
    "RankingEvaluation",
]


def __dir__():
    return __all__
