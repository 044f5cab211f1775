"""The not-to-recommend term."""

from __future__ import annotations

import keras

from keras_negrec import losses
from keras_negrec.backend.tensorflow import tf
from keras_negrec.models.feedback.feedback_term import FeedbackTerm


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class NotToRecommend(FeedbackTerm):
    """Lowers the probability of an item right where it was skipped.

    The output is the logits of the objective for the skipped items. It needs the logits, so that
    it does not go with a fused softmax, and the next kept item as the target.

    Example:

    >>> model = keras_negrec.build_model("sasrec", num_items=9, negative_loss="not_to_recommend")
    >>> sorted(model.output)
    ['next_item', 'not_to_recommend']

    Reference:
        [Wang et al., 2023](https://arxiv.org/abs/2308.12256)
    """

    name = "not_to_recommend"
    target = "next_positive"
    asks_for_skips = True

    def attach(self, item_embedding, objective, *, dtype):
        if not objective.gives_logits:
            raise ValueError(
                "A fused softmax has no logits, which the term `not_to_recommend` needs. Received: "
                f"objective={objective!r}"
            )
        self._objective = objective
        self.inputs = ("skip_target_ids",) if objective.inputs else ()

    def training_columns(self, targets, objective):
        inputs, classes = objective.label(targets.skip_target_ids, "skip_target_ids")
        weights = tf.cast(targets.skip_target_ids > 0, "float32")
        return inputs, {"not_to_recommend": classes}, {"not_to_recommend": weights}

    def output(self, predictions, inputs, logits):
        if not self.inputs:
            return logits
        return self._objective.logits(predictions, inputs, "skip_target_ids")

    def loss(self):
        return losses.NotToRecommend()
