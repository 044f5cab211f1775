"""Training targets of causal models."""

from __future__ import annotations

from collections.abc import Sequence

from keras_negrec.backend.length_multiple import length_multiple
from keras_negrec.backend.tensorflow import tf
from keras_negrec.data.training.targets import (
    NextItemClasses,
    Targets,
    as_inputs,
    check_target,
    next_column,
    same_session,
    take,
)


class NextItemTargets:
    """Turns batches of rows into what a causal model is fitted on: the next item everywhere.

    The encoder sees all but the last event of a row. At each position the target is the next
    positive item of the session, or the next item; positions without one are left out of the
    loss, and only as many positions are scored as the fullest row of the batch has targets.

    Apply it with `dataset.apply(NextItemTargets(...))`.

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
        items, feedback = batch["item_ids"], batch["feedback"]
        same = same_session(batch)
        next_positive = tf.where(items > 0, next_column(feedback > 0, same), -1)
        next_target = next_positive
        if self.target == "next":
            next_target = tf.where(items > 0, next_column(items > 0, same), -1)

        asked = next_target[:, :-1] >= 0
        next_is_skipped = (feedback[:, 1:] < 0) & (items[:, :-1] > 0)
        next_is_skipped &= tf.linalg.diag_part(same[:, :-1, 1:])
        if any(term.asks_for_skips for term in self.feedback):
            asked |= next_is_skipped
        positions, used = pack_positions(asked)
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
            next_positive_columns=next_positive,
        )
        return targets.element(self.objective, self.feedback)


def pack_positions(is_asked: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The columns that are asked for, first ones first, in as few slots as the fullest row needs.

    Slots are counted in multiples of 8, on JAX of half the row's length, so that few shapes occur.

    Returns:
        int32 `(batch, slots)`, the columns (0 in slots that are not used), and bool
        `(batch, slots)`, whether a slot is used.
    """
    length = tf.shape(is_asked)[1]
    fullest = tf.reduce_max(tf.reduce_sum(tf.cast(is_asked, "int32"), axis=1))
    multiple = length_multiple(length, num_lengths=2)
    slots = tf.clip_by_value(-(-fullest // multiple) * multiple, 1, length)
    order = tf.argsort(tf.cast(is_asked, "int32"), axis=1, direction="DESCENDING", stable=True)
    positions = order[:, :slots]
    used = tf.gather(is_asked, positions, axis=1, batch_dims=1)
    return tf.where(used, positions, 0), used
