"""The softmax over the whole catalogue."""

from __future__ import annotations

import keras

from keras_negrec import losses
from keras_negrec.backend.tensorflow import tf
from keras_negrec.models.objectives.objective import Objective


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class Softmax(Objective):
    """Cross-entropy of the next item over the whole catalogue.

    The output is `(batch, targets, num_items)`, column `j` the logit of item `j + 1`.

    Args:
        fused: bool. Whether the output is the loss itself, `(batch, targets)`, and not the
            logits, which are then never in memory all at once: less memory and time, and no
            metrics of the logits. Not for `jit_compile=True` on TensorFlow, which makes it
            several times slower.
        target: as for `Objective`.

    Example:

    >>> objective = keras_negrec.models.objectives.Softmax(fused=True)
    >>> model = keras_negrec.build_model("sasrec", num_items=9, objective=objective)
    >>> model.output["next_item"].shape
    (None, None)
    """

    def __init__(self, *, fused=False, target=None):
        super().__init__(target=target)
        self.fused = bool(fused)
        self.gives_logits = not self.fused
        self.inputs = ("target_ids",) if self.fused else ()

    def label(self, item_ids, name):
        if self.fused:
            return {name: item_ids}, tf.zeros_like(item_ids)
        return super().label(item_ids, name)

    def logits(self, predictions, inputs, name="target_ids"):
        options = {"target_ids": inputs[name]} if self.fused else {}
        return self.item_embedding(predictions, reverse=True, **options)

    def loss(self, num_items):
        return losses.Identity() if self.fused else super().loss(num_items)
