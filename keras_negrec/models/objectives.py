"""Objectives: how the next item is learned."""

from __future__ import annotations

import keras

from keras_negrec import layers, losses
from keras_negrec.argument_checks import check_choice, check_positive_int
from keras_negrec.backend.tensorflow import tf
from keras_negrec.data.training.targets import NextItemClasses
from keras_negrec.models.part import Part, set_rows

__all__ = ["BPR", "GBCE", "OBJECTIVES", "Objective", "SampledSoftmax", "Softmax"]


def __dir__():
    return __all__


class Objective(NextItemClasses, Part):
    """How the next item is learned: what it needs of a batch, its logits, and its Keras loss.

    A subclass overrides what differs from a softmax over the whole catalogue: `loss`, `logits`,
    `label` and `inputs`.

    Args:
        target: what training predicts: `"next_positive"`, the next kept item; `"next"`, whatever
            is shown next; None is `"next_positive"` unless a feedback term needs the other.

    Attributes:
        inputs: tuple of str. Names of the inputs that `label` and `training_columns` give a model.
        reads_rows: bool. Whether training reads the item table by look-ups alone, so that a step
            of `keras_negrec.optimizers.LazyAdam` costs the same whatever the catalogue.
        gives_logits: bool. Whether `logits` are logits, which other terms can use.
        counts_items: bool. Whether `adapt` wants to know how frequent the items are.
    """

    inputs: tuple[str, ...] = ()
    reads_rows = False
    gives_logits = True
    counts_items = False

    def __init__(self, *, target=None):
        check_choice("target", target, (None, "next_positive", "next"))
        self.target = target

    def attach(self, item_embedding, *, dtype) -> None:
        """Makes the layers; models call it once."""
        self.item_embedding = item_embedding

    def logits(self, predictions, inputs: dict, name: str = "target_ids"):
        """The output that `loss` takes: `(batch, num_positions, num_classes)`.

        It is made of predictions `(batch, num_positions, embedding_dim)` and the dict of the
        model's inputs; `name` is that under which `label` was given the items to predict.
        """
        return self.item_embedding(predictions, reverse=True)

    def loss(self, num_items: int) -> keras.losses.Loss:
        """The Keras loss of classes against logits, for a catalogue of that size."""
        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )

    def adapt(self, item_counts) -> None:
        """Is told how often each item is a target: int array of shape `(num_items,)`."""


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


# The names that `build_model` takes. `"softmax"` with `num_sampled_negatives` is sampled.
OBJECTIVES = {"softmax": Softmax, "sampled_softmax": SampledSoftmax, "gbce": GBCE, "bpr": BPR}
