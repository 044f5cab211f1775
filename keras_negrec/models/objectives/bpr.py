"""Bayesian personalized ranking."""

from __future__ import annotations

import keras

from keras_negrec import losses
from keras_negrec.models.objectives.sampled_softmax import SampledObjective


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class BPR(SampledObjective):
    """Bayesian personalized ranking: the pairwise loss of the target and each sampled negative.

    Arguments are those of `SampledObjective`.

    Example:

    >>> model = keras_negrec.build_model("gru4rec", num_items=999, objective="bpr")
    >>> model.objective.num_sampled_negatives
    256

    Reference:
        [Rendle et al., 2009](https://arxiv.org/abs/1205.2618)
    """

    def loss(self, num_items):
        return losses.BayesianPersonalizedRanking()
