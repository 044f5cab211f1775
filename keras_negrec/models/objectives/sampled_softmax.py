"""Objectives with sampled negatives, and the softmax among them."""

from __future__ import annotations

import keras

from keras_negrec import layers
from keras_negrec.argument_checks import check_choice, check_positive_int
from keras_negrec.backend.tensorflow import tf
from keras_negrec.models.objectives.objective import Objective
from keras_negrec.models.part import set_rows


class SampledObjective(Objective):
    """Some negatives stand for the catalogue: class 0 is the target, the others are negatives.

    The output is `(batch, targets, 1 + num_sampled_negatives)`, and with `skips_as_negatives` the
    session's own skipped items are further columns.

    Args:
        num_sampled_negatives: int. How many are drawn for each batch.
        sampling_distribution: what they are drawn from, see `keras_negrec.layers.NegativeSampler`.
        skips_as_negatives: bool. Whether a session's skipped items are negatives too.
        target: as for `Objective`.
    """

    reads_rows = True
    corrects_for_sampling = False  # Whether logits are, for how often an item is drawn.

    def __init__(
        self,
        num_sampled_negatives=256,
        *,
        sampling_distribution="uniform",
        skips_as_negatives=False,
        target=None,
    ):
        super().__init__(target=target)
        self.num_sampled_negatives = check_positive_int(
            "num_sampled_negatives", num_sampled_negatives
        )
        choices = ("uniform", "log_uniform", "in_batch", "mixed")
        check_choice("sampling_distribution", sampling_distribution, choices)
        self.sampling_distribution = sampling_distribution
        self.skips_as_negatives = bool(skips_as_negatives)
        self.counts_items = sampling_distribution in ("in_batch", "mixed")
        self.inputs = ("target_ids", "skipped_ids") if skips_as_negatives else ("target_ids",)

    def attach(self, item_embedding, *, dtype):
        super().attach(item_embedding, dtype=dtype)
        self.sampler = layers.NegativeSampler(
            item_embedding.num_items,
            self.num_sampled_negatives,
            self.sampling_distribution,
            dtype=dtype,
            name="negative_sampler",
        )
        self._layer = layers.SampledLogits(dtype=dtype, name="sampled_logits")

    def label(self, item_ids, name):
        return {name: item_ids}, tf.zeros_like(item_ids)  # the target is class 0

    def training_columns(self, targets):
        inputs, labels, weights = super().training_columns(targets)
        if self.skips_as_negatives:
            batch = targets.batch
            inputs["skipped_ids"] = tf.where(batch["feedback"] < 0, batch["item_ids"], 0)
        return inputs, labels, weights

    def logits(self, predictions, inputs, name="target_ids"):
        ids, lookup = inputs[name], self.item_embedding
        is_target = name == "target_ids"
        if is_target:  # Other outputs are scored among the same negatives.
            negative_ids, target_log_counts, negative_log_counts = self.sampler(ids)
            self._negatives = lookup(negative_ids), negative_ids, negative_log_counts
        options = {}
        if self.corrects_for_sampling:
            options["negative_log_counts"] = self._negatives[2]
            if is_target:  # An item of another output is there for certain.
                options["target_log_counts"] = target_log_counts
        if is_target and self.skips_as_negatives:
            own_ids = inputs["skipped_ids"]
            options |= {"own_ids": own_ids, "own_embeddings": lookup(own_ids)}
        return self._layer(predictions, lookup(ids), ids, *self._negatives[:2], **options)

    def adapt(self, item_counts):
        self.sampler.adapt(item_counts)

    def start_new_items(self, first):
        if self.counts_items:  # as frequent as the rarest old one
            set_rows(self.sampler.frequencies, first, lambda old: old.min())


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class SampledSoftmax(SampledObjective):
    """Cross-entropy of the next item among sampled negatives, corrected for how they are drawn.

    Arguments are those of `SampledObjective`.

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
