"""Optimizers for large item tables."""

from keras_negrec.optimizers.lazy_adam import LazyAdam
from keras_negrec.optimizers.loss_scale_optimizer import LossScaleOptimizer

__all__ = ["LazyAdam", "LossScaleOptimizer"]


def __dir__():
    return __all__
