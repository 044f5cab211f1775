"""Training targets of bidirectional models."""

from __future__ import annotations

from collections.abc import Sequence

from keras_negrec.argument_checks import check_fraction, check_positive_int
from keras_negrec.backend.tensorflow import tf
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.training.targets import (
    NextItemClasses,
    Targets,
    as_inputs,
    check_target,
    next_column,
    same_session,
    take,
)


class ClozeTargets:
    """Turns batches of rows into a cloze task: masked items are to be predicted from the rest.

    In most rows a random share of the events is masked, at least one. In a share of the rows,
    `last_probability`, only the last event that can be a target is masked, and what came after
    it is taken away, so that training meets the case that is served: the row ends with the mask
    token. A masked event hides its item and its feedback from the encoder. Masks are drawn anew
    at each epoch.

    Args:
        mask_id: int. The mask token, `num_items + 1`.
        mask_probability: float. The share of a row's events that is masked.
        last_probability: float. The share of rows in which only the last one is.
        target: `"next_positive"` masks positive events only, `"next"` masks any event.
        objective, feedback: as for `NextItemTargets`. A term that asks for skips has skipped
            events masked too.
        seed: int. The same seed gives the same masks, epoch by epoch.

    Call arguments:
        dataset: as for `NextItemTargets`; with `(dict, step)` the masks depend on the seed and
            the step alone.

    Returns:
        `tf.data.Dataset` of `(x, y, sample_weight)` as for `NextItemTargets`, with encoder
        inputs of the length of the rows.

    Raises:
        ValueError: an argument outside of its range; an unknown `target`, or one that a feedback
            term contradicts.

    Example:

    >>> targets = keras_negrec.data.ClozeTargets(mask_id=9, last_probability=0.999)
    >>> rows = {"item_ids": [[0, 5, 6, 7]], "feedback": [[0, 1, 1, -1]]}
    >>> x, y, _ = next(iter(tf.data.Dataset.from_tensors(rows).apply(targets)))
    >>> x["item_ids"].numpy(), y["next_item"].numpy()
    (array([[0, 0, 5, 9]], dtype=int32), array([[5]], dtype=int32))
    """

    def __init__(
        self,
        mask_id: int,
        mask_probability: float = 0.2,
        last_probability: float = 0.2,
        target: str = "next_positive",
        *,
        objective=None,
        feedback: Sequence = (),
        seed: int = 0,
    ):
        self.mask_id = check_positive_int("mask_id", mask_id)
        self.mask_probability = check_fraction("mask_probability", mask_probability)
        self.last_probability = check_fraction("last_probability", last_probability)
        check_target(target, feedback)
        self.target = target
        self.objective = objective or NextItemClasses()
        self.feedback = tuple(feedback)
        self.seed = seed

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        if isinstance(dataset.element_spec, tuple):
            return dataset.map(
                lambda batch, step: self.transform(batch, [self.seed, step]),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        seeds = tf.data.Dataset.random(seed=self.seed, rerandomize_each_iteration=True).batch(2)
        return tf.data.Dataset.zip((dataset, seeds)).map(
            self.transform, num_parallel_calls=tf.data.AUTOTUNE
        )

    def transform(self, batch: dict, seed) -> tuple[dict, dict, dict]:
        """One batch of rows to `(x, y, sample_weight)`; `seed` is two integers."""
        batch = as_inputs(batch)
        shape = tf.shape(batch["item_ids"])
        row_seed, event_seed, count_seed = tf.unstack(
            tf.random.split(tf.cast(seed, "int64"), 3), num=3
        )
        only_last = tf.random.stateless_uniform(shape[:1], row_seed) < self.last_probability
        batch = self._end_at_last_target(batch, only_last)
        items, feedback = batch["item_ids"], batch["feedback"]
        can_be_target = self._can_be_target(batch)
        skipped = (feedback < 0) & (items > 0)
        maskable = can_be_target
        if any(term.asks_for_skips for term in self.feedback):
            maskable |= skipped

        # The events with the highest random scores are masked: a fixed number of slots.
        scores = tf.random.stateless_uniform(shape, event_seed)
        is_last_column = tf.range(shape[1]) == shape[1] - 1
        scores = tf.where(only_last[:, tf.newaxis] & is_last_column, 2.0, scores)
        scores = tf.where(maskable, scores, -1.0)
        slots = tf.cast(tf.math.ceil(self.mask_probability * tf.cast(shape[1], "float32")), "int32")
        _, positions = tf.math.top_k(scores, tf.maximum(slots, 1))
        num_maskable = tf.reduce_sum(tf.cast(maskable, "int32"), axis=1)
        wanted = self.mask_probability * tf.cast(num_maskable, "float32")
        wanted = tf.floor(wanted + tf.random.stateless_uniform(shape[:1], count_seed))
        wanted = tf.where(only_last, 1, tf.maximum(tf.cast(wanted, "int32"), 1))
        wanted = tf.minimum(wanted, num_maskable)
        used = tf.range(tf.shape(positions)[1]) < wanted[:, tf.newaxis]
        positions = tf.where(used, positions, 0)
        is_target = used & take(can_be_target, positions)

        masked = tf.reduce_any(
            (tf.range(shape[1]) == positions[..., tf.newaxis]) & used[..., tf.newaxis], axis=1
        )
        hidden = {name: EVENT_COLUMNS[name].masked for name in batch} | {"item_ids": self.mask_id}
        inputs = dict(batch)
        for name, value in hidden.items():
            if value is not None:
                inputs[name] = tf.where(masked, tf.cast(value, batch[name].dtype), batch[name])
        item_at, feedback_at = take(items, positions), take(feedback, positions)
        same = same_session(batch)
        targets = Targets(
            batch=batch,
            inputs=inputs,
            positions=positions,
            is_target=is_target,
            target_ids=tf.where(is_target, item_at, 0),
            target_feedback=feedback_at,
            skip_target_ids=tf.where(used & take(skipped, positions), item_at, 0),
            positive_columns=tf.where(is_target & (feedback_at > 0), positions, -1),
            same_session=same,
            session_columns=take(same, positions),
            next_columns=positions,
            unseen_columns=masked[:, tf.newaxis, :]
            & (tf.range(shape[1]) >= positions[..., tf.newaxis]),
            next_positive_columns=tf.where(items > 0, next_column(feedback > 0, same), -1),
        )
        return targets.element(self.objective, self.feedback)

    def _can_be_target(self, batch: dict) -> tf.Tensor:
        return batch["feedback"] > 0 if self.target == "next_positive" else batch["item_ids"] > 0

    def _end_at_last_target(self, batch: dict, chosen: tf.Tensor) -> dict:
        """Shifts the chosen rows right until their last possible target is in the last column."""
        can_be_target = self._can_be_target(batch)
        length = tf.shape(can_be_target)[1]
        after_last = tf.argmax(
            tf.cast(tf.reverse(can_be_target, [1]), "int8"), axis=1, output_type="int32"
        )
        shift = tf.where(chosen & tf.reduce_any(can_be_target, axis=1), after_last, 0)
        source = tf.range(length) - shift[:, tf.newaxis]
        return {
            name: tf.where(source >= 0, take(values, source), tf.zeros((), values.dtype))
            for name, values in batch.items()
        }
