"""Exact ranking of the whole catalogue, and comparisons."""

from keras_negrec.evaluation.bootstrap_mean import BootstrapMean, bootstrap_mean
from keras_negrec.evaluation.compare import compare
from keras_negrec.evaluation.comparison import Comparison
from keras_negrec.evaluation.comparison_run import ComparisonRun
from keras_negrec.evaluation.evaluate import evaluate
from keras_negrec.evaluation.evaluate_sampled import evaluate_sampled
from keras_negrec.evaluation.holm_correction import holm_correction
from keras_negrec.evaluation.metric_table import Metric, register_metric, unregister_metric
from keras_negrec.evaluation.metrics import Metrics
from keras_negrec.evaluation.rank_targets import rank_targets
from keras_negrec.evaluation.ranking_metrics import example_metrics, ranking_metrics
from keras_negrec.evaluation.scorer import Scorer, VectorScorer
from keras_negrec.evaluation.skip_sensitivity import skip_sensitivity

__all__ = [
    "BootstrapMean",
    "Comparison",
    "ComparisonRun",
    "Metric",
    "Metrics",
    "Scorer",
    "VectorScorer",
    "bootstrap_mean",
    "compare",
    "evaluate",
    "evaluate_sampled",
    "example_metrics",
    "holm_correction",
    "rank_targets",
    "ranking_metrics",
    "register_metric",
    "skip_sensitivity",
    "unregister_metric",
]


def __dir__():
    return __all__
