"""The softmax over the target and sampled negatives."""

from __future__ import annotations

import keras

from keras_negrec.models.objectives.objective import softmax_crossentropy
from keras_negrec.models.objectives.sampled_objective import SampledObjective


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class SampledSoftmax(SampledObjective):
    """Cross-entropy of the next item among sampled negatives, corrected for how they are drawn.

    Args:
        num_sampled_negatives, sampling_distribution, skips_as_negatives, target: as for
            `SampledObjective`.

    Example:

    >>> objective = keras_negrec.models.objectives.SampledSoftmax(64)
    >>> model = keras_negrec.build_model("sasrec", num_items=999, objective=objective)
    >>> model.output["next_item"].shape
    (None, None, 65)

    Reference:
        [Bengio & Senecal, 2008](https://ieeexplore.ieee.org/document/4443871);
        [Yi et al., 2019](https://research.google/pubs/pub48840/) for the correction.
    """

    corrects_for_sampling = True

    def loss(self, num_items):
        return softmax_crossentropy()
