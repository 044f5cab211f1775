"""Objectives: how the next item is learned."""

from keras_negrec.models.objectives.bpr import BPR
from keras_negrec.models.objectives.gbce import GBCE
from keras_negrec.models.objectives.objective import Objective
from keras_negrec.models.objectives.sampled_softmax import SampledSoftmax
from keras_negrec.models.objectives.softmax import Softmax

__all__ = ["BPR", "GBCE", "OBJECTIVES", "Objective", "SampledSoftmax", "Softmax"]


def __dir__():
    return __all__


# The names that `build_model` takes. `"softmax"` with `num_sampled_negatives` is sampled.
OBJECTIVES = {"softmax": Softmax, "sampled_softmax": SampledSoftmax, "gbce": GBCE, "bpr": BPR}
