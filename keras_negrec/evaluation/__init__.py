"""Exact ranking of the whole catalogue, and comparisons."""

from keras_negrec.evaluation.compare import ComparisonRun, compare
from keras_negrec.evaluation.comparison import Comparison
from keras_negrec.evaluation.evaluate import evaluate, evaluate_sampled
from keras_negrec.evaluation.evaluate_exposures import evaluate_exposures, exposure_metrics
from keras_negrec.evaluation.rank_targets import rank_targets
from keras_negrec.evaluation.ranking_metrics import (
    Metric,
    Metrics,
    example_metrics,
    ranking_metrics,
    register_metric,
    unregister_metric,
)
from keras_negrec.evaluation.scorer import Scorer, VectorScorer
from keras_negrec.evaluation.significance import BootstrapMean, bootstrap_mean, holm_correction
from keras_negrec.evaluation.skip_sensitivity import skip_sensitivity
from keras_negrec.evaluation.trade_off import TradeOff, choose_weights, trade_off

__all__ = [
    "BootstrapMean",
    "Comparison",
    "ComparisonRun",
    "Metric",
    "Metrics",
    "Scorer",
    "TradeOff",
    "VectorScorer",
    "bootstrap_mean",
    "choose_weights",
    "compare",
    "evaluate",
    "evaluate_exposures",
    "evaluate_sampled",
    "example_metrics",
    "exposure_metrics",
    "holm_correction",
    "rank_targets",
    "ranking_metrics",
    "register_metric",
    "skip_sensitivity",
    "trade_off",
    "unregister_metric",
]


def __dir__():
    return __all__
