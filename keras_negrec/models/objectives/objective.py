"""What all objectives share."""

from __future__ import annotations

import keras

from keras_negrec.argument_checks import check_choice
from keras_negrec.data.training.targets import NextItemClasses
from keras_negrec.models.part import Part


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
