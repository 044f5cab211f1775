"""What all feedback terms share."""

from __future__ import annotations

from typing import Any

import keras

from keras_negrec.argument_checks import check_positive_float, check_ranking_weight
from keras_negrec.data.training.targets import Targets
from keras_negrec.models.part import Part


class FeedbackTerm(Part):
    """A loss that learns from how events were received, and maybe a part of the ranking.

    A term has an output of its own in the model, under its `name`, with a Keras loss and a
    weight. A subclass overrides `training_columns`, `output` and `loss`. One that takes part in
    the ranking sets `ranks`, and adds columns to the vectors of histories and items, whose product
    is added to the score with its `ranking_weight`: a score stays a product of two vectors,
    and all that ranks, exports or grows a model knows nothing of the term.

    Args:
        weight: float above 0. Weight of its loss beside that of the next item.

    Attributes:
        name: str. Of the output; `<name>_loss` is its line in the history.
        target: `"next"` or `"next_positive"` where the term needs training to predict that, else
            None.
        inputs: tuple of str. Names of the inputs that `training_columns` give a model, beside
            those of the objective.
        asks_for_skips: bool. Whether positions before a skip are asked for, too.
        ranks: bool. Whether the term takes part in the ranking.
        ranking_weight: float of at least 0. How much it counts there, from the attribute
            `<name>_weight`, else 1; models with the term can set it at any time.
    """

    name: str
    target: str | None = None
    inputs: tuple[str, ...] = ()
    asks_for_skips = False
    ranks = False

    def __init__(self, weight=0.25):
        self.weight = check_positive_float(f"{type(self).__name__}(weight)", weight)

    @property
    def ranking_weight(self) -> float:
        return getattr(self, f"{self.name}_weight", 1.0)

    @ranking_weight.setter
    def ranking_weight(self, value):
        setattr(self, f"{self.name}_weight", check_ranking_weight(f"{self.name}_weight", value))

    def attach(self, item_embedding, objective, *, dtype) -> None:
        """Makes the layers; models call it once. `item_embedding` knows `num_items`."""

    def training_columns(self, targets: Targets, objective) -> tuple[dict, dict, dict]:
        """Inputs of the model, labels and sample weights of a batch, in TensorFlow, dicts by name.

        Args:
            targets: `keras_negrec.data.training.targets.Targets`.
            objective: that of the model; `objective.label` says how it is told of items.
        """
        raise NotImplementedError(f"{type(self).__name__} must override `training_columns`.")

    def output(self, predictions, inputs: dict, logits):
        """The output that `loss` takes.

        It is made of the encoder's predictions `(batch, num_positions, embedding_dim)`, the dict
        of the model's inputs, and the output of the objective.
        """
        raise NotImplementedError(f"{type(self).__name__} must override `output`.")

    def loss(self) -> keras.losses.Loss:
        """The Keras loss of labels against the output."""
        raise NotImplementedError(f"{type(self).__name__} must override `loss`.")

    def history_columns(self, predictions) -> Any:
        """Columns of a history for the ranking: `(batch, n)`, from `(batch, embedding_dim)`."""
        raise NotImplementedError(f"{type(self).__name__} must override `history_columns`.")

    def item_columns(self, rows=None) -> Any:
        """Columns of all items, or of some rows, for the ranking: `(num_items, n)`."""
        raise NotImplementedError(f"{type(self).__name__} must override `item_columns`.")
