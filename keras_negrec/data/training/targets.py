"""What a batch asks a model to predict, and the targets of causal models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keras_negrec.argument_checks import check_choice
from keras_negrec.backend.length_multiple import length_multiple
from keras_negrec.backend.tensorflow import tf
from keras_negrec.data.event_columns import EVENT_COLUMNS


@dataclass(frozen=True)
class Targets:
    """A batch with the positions that predict and what they are to predict.

    All are tensors of TensorFlow, integers int32, of shape `(batch, num_positions)` where no other
    is given. `length` is that of whole rows.

    Args:
        batch: dict of event columns `(batch, length)`, the whole rows.
        inputs: dict of event columns, what the encoder sees of them.
        positions: columns of `inputs` that predict.
        is_target: bool, False for slots without a target.
        target_ids: item ids, 0 where there is no target.
        target_feedback: how the targets were received.
        skip_target_ids: the item that was skipped right there, 0 where none was.
        positive_columns: the column of `batch` of the next kept item, -1 where there is none.
        same_session: bool `(batch, length, length)`, whether two events are of one session.
        session_columns: bool `(batch, num_positions, length)`, which events are of the session
            that a position predicts in.
        next_columns: the column of `batch` of the event that comes right there.
        unseen_columns: bool `(batch, num_positions, length)`, which events come there or later and
            are hidden from the encoder.
        next_positive_columns: `(batch, length)`, for each event the column of the first kept one
            after it in its session, -1 where there is none.
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
    next_columns: tf.Tensor
    unseen_columns: tf.Tensor
    next_positive_columns: tf.Tensor

    def element(self, objective, feedback: Sequence) -> tuple[dict, dict, dict]:
        """`(x, y, sample_weight)` for `Model.fit`."""
        inputs, y, sample_weight = objective.training_columns(self)
        x = self.inputs | {"target_positions": self.positions} | inputs
        for term in feedback:
            inputs, labels, weights = term.training_columns(self, objective)
            x, y, sample_weight = x | inputs, y | labels, sample_weight | weights
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


class NextItemTargets:
    """Turns batches of rows into what a causal model is fitted on: the next item everywhere.

    The encoder sees all but the last event of a row. At each position the target is the next
    positive item of the session, or the next item; positions without one are left out of the
    loss, and only as many positions are scored as the fullest row of the batch has targets.

    Args:
        target: `"next_positive"` or `"next"` (whatever its feedback).
        objective: of `keras_negrec.models.objectives`, what says how the next item is learned;
            None gives the plain classes of the targets.
        feedback: feedback terms of `keras_negrec.models.feedback`.

    Call arguments:
        dataset: `tf.data.Dataset` of dicts with int32 tensors `item_ids`, `feedback` and
            optionally further event columns, of shape `(batch, length)`, left-padded; or of
            `(dict, step)`, whose steps are not needed here.

    Returns:
        `tf.data.Dataset` of `(x, y, sample_weight)`. `x`: the encoder's inputs of shape
        `(batch, length - 1)`, `target_positions`, and what objective and terms add. `y` and
        `sample_weight`: `next_item`, and an entry for each term.

    Raises:
        ValueError: an unknown `target`, or one that a feedback term contradicts.

    Example:

    >>> targets = keras_negrec.data.NextItemTargets()
    >>> rows = {"item_ids": [[0, 5, 6, 7]], "feedback": [[0, 1, -1, 1]]}
    >>> x, y, weight = next(iter(tf.data.Dataset.from_tensors(rows).apply(targets)))
    >>> x["target_positions"].numpy(), y["next_item"].numpy()
    (array([[1, 2, 0]], dtype=int32), array([[6, 6, 0]], dtype=int32))
    >>> weight["next_item"].numpy()
    array([[1., 1., 0.]], dtype=float32)
    """

    def __init__(self, target: str = "next_positive", *, objective=None, feedback: Sequence = ()):
        check_target(target, feedback)
        self.target = target
        self.objective = objective or NextItemClasses()
        self.feedback = tuple(feedback)

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        return dataset.map(
            lambda batch, step=None: self.transform(batch), num_parallel_calls=tf.data.AUTOTUNE
        )

    def transform(self, batch: dict) -> tuple[dict, dict, dict]:
        """One batch of rows to `(x, y, sample_weight)`."""
        batch = as_inputs(batch)
        items, feedback, same = batch["item_ids"], batch["feedback"], same_session(batch)
        next_positive = tf.where(items > 0, next_column(feedback > 0, same), -1)
        next_target = next_positive
        if self.target == "next":
            next_target = tf.where(items > 0, next_column(items > 0, same), -1)

        asked = next_target[:, :-1] >= 0
        next_is_skipped = (feedback[:, 1:] < 0) & (items[:, :-1] > 0)
        next_is_skipped &= tf.linalg.diag_part(same[:, :-1, 1:])
        if any(term.asks_for_skips for term in self.feedback):
            asked |= next_is_skipped
        positions, used = _pack_positions(asked)
        target_columns = take(next_target, positions)
        is_target = used & (target_columns >= 0)
        skip_target_ids = take(tf.where(next_is_skipped, items[:, 1:], 0), positions)
        targets = Targets(
            batch=batch,
            inputs={name: values[:, :-1] for name, values in batch.items()},
            positions=positions,
            is_target=is_target,
            target_ids=tf.where(is_target, take(items, target_columns), 0),
            target_feedback=take(feedback, target_columns),
            skip_target_ids=tf.where(used, skip_target_ids, 0),
            positive_columns=tf.where(is_target, take(next_positive, positions), -1),
            same_session=same,
            session_columns=take(same, positions),
            next_columns=positions + 1,
            unseen_columns=tf.range(tf.shape(items)[1]) > positions[..., tf.newaxis],
            next_positive_columns=next_positive,
        )
        return targets.element(self.objective, self.feedback)


def check_target(target: str, feedback: Sequence) -> None:
    """Refuses an unknown target, and one that contradicts a feedback term."""
    check_choice("target", target, ("next_positive", "next"))
    wanted = {term.target: term.name for term in feedback if term.target is not None}
    if len(wanted) > 1:
        names, targets = (sorted(found, reverse=True) for found in (wanted.values(), wanted))
        raise ValueError(
            f"`{'` and `'.join(names)}` cannot be combined: they need different targets, "
            f'"{targets[0]}" and "{targets[1]}".'
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
    """For each event the column of the first later event of its session that is chosen, or -1.

    `chosen` is bool and the outcome int32, both `(batch, length)`; `same` is from `same_session`.
    """
    columns = tf.range(tf.shape(chosen)[1])
    later = columns[tf.newaxis, :] > columns[:, tf.newaxis]
    eligible = chosen[:, tf.newaxis, :] & later & same
    first = tf.argmax(tf.cast(eligible, "int8"), axis=-1, output_type="int32")
    return tf.where(tf.reduce_any(eligible, axis=-1), first, -1)


def take(values: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Of each row the given columns, 0 instead of -1: `(batch, num_positions, ...)`."""
    return tf.gather(values, tf.maximum(columns, 0), axis=1, batch_dims=1)


def _pack_positions(is_asked: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The columns that are asked for, first ones first, and which slots are used: `(batch, slots)`.

    There are as few slots as the fullest row needs, in multiples of 8, on JAX of half the row's
    length, so that few shapes occur. Slots that are not used have column 0.
    """
    length = tf.shape(is_asked)[1]
    fullest = tf.reduce_max(tf.reduce_sum(tf.cast(is_asked, "int32"), axis=1))
    multiple = length_multiple(length, num_lengths=2)
    slots = tf.clip_by_value(-(-fullest // multiple) * multiple, 1, length)
    order = tf.argsort(tf.cast(is_asked, "int32"), axis=1, direction="DESCENDING", stable=True)
    positions = order[:, :slots]
    used = tf.gather(is_asked, positions, axis=1, batch_dims=1)
    return tf.where(used, positions, 0), used
