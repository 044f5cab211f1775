"""Callbacks for `fit`."""

from keras_negrec.callbacks.backup_and_resume import BackupAndResume
from keras_negrec.callbacks.ranking_evaluation import RankingEvaluation
from keras_negrec.callbacks.stop_on_non_finite import StopOnNonFinite

__all__ = [
    "BackupAndResume",
    "RankingEvaluation",
    "StopOnNonFinite",
]


def __dir__():
    return __all__
