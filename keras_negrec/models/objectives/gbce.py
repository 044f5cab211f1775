"""Generalized binary cross-entropy."""

from __future__ import annotations

import keras

from keras_negrec import losses
from keras_negrec.models.objectives.sampled_softmax import SampledObjective


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class GBCE(SampledObjective):
    """gSASRec's generalized binary cross-entropy: the target against each sampled negative.

    Args:
        calibration: float from 0 to 1: how much the loss makes up for sampling.
        num_sampled_negatives, **kwargs: as for `SampledObjective`.

    Example:

    >>> objective = keras_negrec.models.objectives.GBCE(64, calibration=0.5)
    >>> objective.loss(num_items=129).sampling_rate
    0.5

    Reference:
        [Petrov & Macdonald, 2023](https://arxiv.org/abs/2308.07192)
    """

    def __init__(self, num_sampled_negatives=256, *, calibration=0.75, **kwargs):
        super().__init__(num_sampled_negatives, **kwargs)
        self.calibration = calibration

    def loss(self, num_items):
        # The share of the items other than the target that is sampled.
        rate = min(1.0, self.num_sampled_negatives / max(1, num_items - 1))
        return losses.GeneralizedBinaryCrossentropy(rate, self.calibration)
