"""What a batch asks a model to predict, from which objectives and feedback terms take their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras_negrec.argument_checks import check_choice
from keras_negrec.backend.tensorflow import tf
from keras_negrec.data.event_columns import EVENT_COLUMNS


@dataclass(frozen=True)
class Targets:
    """A batch with the positions that predict and what they are to predict.

    All are tensors of TensorFlow, integers int32. `length` is that of whole rows.

    Args:
        batch: dict of event columns `(batch, length)`, the whole rows.
        inputs: dict of event columns, what the encoder sees of them.
        positions: int `(batch, num_positions)`, columns of `inputs` that predict.
        is_target: bool `(batch, num_positions)`, False for slots without a target.
        target_ids: int `(batch, num_positions)`, item ids, 0 where there is no target.
        target_feedback: int `(batch, num_positions)`, how the targets were received.
        skip_target_ids: int `(batch, num_positions)`, the item that was skipped right there, 0
            where none was.
        positive_columns: int `(batch, num_positions)`, the column of `batch` of the next kept
            item, -1 where there is none.
        same_session: bool `(batch, length, length)`, whether two events are of one session.
        session_columns: bool `(batch, num_positions, length)`, which events are of the session
            that a position predicts in.
        next_positive_columns: int `(batch, length)`, for each event the column of the first kept
            one after it in its session, -1 where there is none.
    """

    batch: dict[str, tf.Tensor]
    inputs: dict[str, tf.Tensor]
    positions: tf.Tensor
    is_target: tf.Tensor
    target_ids: tf.Tensor
    target_feedback: tf.Tensor
    skip_target_ids: tf.Tensor
    positive_columns: tf.Tensor
    same_session: tf.Tensor
    session_columns: tf.Tensor
    next_positive_columns: tf.Tensor

    def element(self, objective, feedback: Sequence) -> tuple[dict, dict, dict]:
        """`(x, y, sample_weight)` for `Model.fit`."""
        x: dict[str, Any] = {**self.inputs, "target_positions": self.positions}
        y: dict[str, Any] = {}
        sample_weight: dict[str, Any] = {}
        parts = [objective.training_columns(self)]
        parts += [term.training_columns(self, objective) for term in feedback]
        for inputs, labels, weights in parts:
            x |= inputs
            y |= labels
            sample_weight |= weights
        return x, y, sample_weight


class NextItemClasses:
    """The plainest objective, as far as data go: the class of a target is its id less 1."""

    def training_columns(self, targets: Targets) -> tuple[dict, dict, dict]:
        """Inputs, labels and weights of the next item."""
        inputs, classes = self.label(targets.target_ids, "target_ids")
        weights = tf.cast(targets.is_target, "float32")
        return inputs, {"next_item": classes}, {"next_item": weights}

    def label(self, item_ids: tf.Tensor, name: str) -> tuple[dict, tf.Tensor]:
        """What a model is told of items to predict, under a name, and their classes."""
        return {}, tf.maximum(item_ids - 1, 0)


def check_target(target: str, feedback: Sequence) -> None:
    """Refuses an unknown target, and one that contradicts a feedback term."""
    check_choice("target", target, ("next_positive", "next"))
    wanted = {term.target: term.name for term in feedback if term.target is not None}
    if len(wanted) > 1:
        raise ValueError(
            f"{' and '.join(f'`{name}`' for name in sorted(wanted.values(), reverse=True))} cannot "
            "be combined: they need different targets, "
            + " and ".join(f'"{name}"' for name in sorted(wanted, reverse=True))
            + "."
        )
    for needed, name in wanted.items():
        if needed != target:
            raise ValueError(
                f'`{name}` needs target="{needed}": whether skipped items are targets changes what '
                f"it learns. Received: target={target!r}"
            )


def as_inputs(batch: dict) -> dict[str, tf.Tensor]:
    """The columns of a batch in the dtypes that models take."""
    return {
        name: tf.cast(values, EVENT_COLUMNS[name].input_dtype) for name, values in batch.items()
    }


def same_session(batch: dict) -> tf.Tensor:
    """Whether two events of a row are of one session: bool `(batch, length, length)`."""
    sessions = batch.get("session_ids", tf.zeros_like(batch["item_ids"]))
    return sessions[:, :, tf.newaxis] == sessions[:, tf.newaxis, :]


def next_column(chosen: tf.Tensor, same: tf.Tensor) -> tf.Tensor:
    """For each event the column of the first later event of its session that is chosen.

    Args:
        chosen: bool `(batch, length)`.
        same: bool `(batch, length, length)`, from `same_session`.

    Returns:
        int32 `(batch, length)`, -1 where there is none.
    """
    columns = tf.range(tf.shape(chosen)[1])
    later = columns[tf.newaxis, :] > columns[:, tf.newaxis]
    eligible = chosen[:, tf.newaxis, :] & later & same
    first = tf.argmax(tf.cast(eligible, "int8"), axis=-1, output_type="int32")
    return tf.where(tf.reduce_any(eligible, axis=-1), first, -1)


def take(values: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Of each row the given columns, 0 instead of -1: `(batch, num_positions, ...)`."""
    return tf.gather(values, tf.maximum(columns, 0), axis=1, batch_dims=1)
