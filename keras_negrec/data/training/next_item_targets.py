"""Training targets of causal models."""

from __future__ import annotations

from keras_negrec.argument_checks import check_choice
from keras_negrec.backend.length_multiple import length_multiple
from keras_negrec.backend.tensorflow import tf
from keras_negrec.data.training import training_targets


class NextItemTargets:
    """Turns batches of rows into what a causal model is fitted on: the next item everywhere.

    The encoder sees all but the last event of a row. At each position the target is the next
    positive item of the session, or the next item; positions without one are left out of the
    loss, and only as many positions are scored as the fullest row of the batch has targets.

    Apply it with `dataset.apply(NextItemTargets(...))`.

    Args:
        target: `"next_positive"` or `"next"` (whatever its feedback).
        contrastive: None, or the context of the negative-feedback loss: `"hidden"`
            (labels for each target position) or `"item"` (labels for each event).
        not_to_recommend: bool. Whether there are labels for the not-to-recommend loss: the
            item of the next event, where that was skipped.
        keep: bool. Whether there are labels for the keep loss: 1 where the target was kept, 0
            where it was skipped; neutral feedback does not count.
        sampled: bool. Whether the model samples its negatives (then class 0 is the target).
        skips_as_negatives: bool. Whether the skipped items of each row go along as `skipped_ids`.

    Call arguments:
        dataset: `tf.data.Dataset` of dicts with int32 tensors `item_ids`, `feedback` and
            optionally `session_ids`, of shape `(batch, length)`, left-padded; or of
            `(dict, step)`, whose steps are not needed here.

    Returns:
        `tf.data.Dataset` of `(x, y, sample_weight)`. `x`: the encoder's inputs of shape
        `(batch, length - 1)`, `target_positions`, and as needed `target_ids`,
        `skip_target_ids`, `skipped_ids` and `candidate_ids`. `y` and `sample_weight`:
        `next_item`, and as needed `contrastive`, `not_to_recommend` and `keep`.

    Raises:
        ValueError: an unknown `target` or `contrastive`; `target="next"` with
            `not_to_recommend`, which would raise and lower the same items; `keep` with another
            target.

    Example:

    >>> targets = keras_negrec.data.NextItemTargets()
    >>> rows = {"item_ids": [[0, 5, 6, 7]], "feedback": [[0, 1, -1, 1]]}
    >>> x, y, weight = next(iter(tf.data.Dataset.from_tensors(rows).apply(targets)))
    >>> x["target_positions"].numpy(), y["next_item"].numpy()
    (array([[1, 2, 0]], dtype=int32), array([[6, 6, 0]], dtype=int32))
    >>> weight["next_item"].numpy()
    array([[1., 1., 0.]], dtype=float32)
    """

    def __init__(
        self,
        target="next_positive",
        contrastive=None,
        not_to_recommend=False,
        keep=False,
        sampled=False,
        skips_as_negatives=False,
    ):
        training_targets.check_target(target, not_to_recommend, keep)
        check_choice("contrastive", contrastive, (None, "hidden", "item"))
        self.target = target
        self.contrastive = contrastive
        self.not_to_recommend = not_to_recommend
        self.keep = keep
        self.sampled = sampled
        self.skips_as_negatives = skips_as_negatives

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        return dataset.map(
            lambda batch, step=None: self.transform(batch), num_parallel_calls=tf.data.AUTOTUNE
        )

    def transform(self, batch: dict) -> tuple[dict, dict, dict]:
        """One batch of rows to `(x, y, sample_weight)`."""
        batch = {name: tf.cast(values, "int32") for name, values in batch.items()}
        items, positive = batch["item_ids"], batch["feedback"] > 0
        same = training_targets.same_session(batch)
        chosen = positive if self.target == "next_positive" else items > 0
        next_positive = training_targets.next_column(positive, same)
        next_chosen = (
            next_positive
            if self.target == "next_positive"
            else training_targets.next_column(chosen, same)
        )
        next_chosen = tf.where(items > 0, next_chosen, -1)
        next_positive = tf.where(items > 0, next_positive, -1)

        inputs = {name: values[:, :-1] for name, values in batch.items()}
        has_target = next_chosen[:, :-1] >= 0
        next_is_skipped = (batch["feedback"][:, 1:] < 0) & (items[:, :-1] > 0)
        if "session_ids" in batch:
            sessions = batch["session_ids"]
            next_is_skipped &= sessions[:, 1:] == sessions[:, :-1]
        asked = has_target | next_is_skipped if self.not_to_recommend else has_target
        positions, used = pack_positions(asked)
        target_column = tf.gather(next_chosen, positions, axis=1, batch_dims=1)
        is_target = used & (target_column >= 0)
        target_ids = tf.gather(items, tf.maximum(target_column, 0), axis=1, batch_dims=1)

        labels = None
        if self.contrastive == "item":
            labels = training_targets.candidate_labels(batch, next_positive, same)
        elif self.contrastive == "hidden":
            column = tf.gather(next_positive, positions, axis=1, batch_dims=1)
            labels = training_targets.candidate_labels(
                batch,
                tf.where(is_target, column, -1),
                tf.gather(same, positions, axis=1, batch_dims=1),
            )
        skip_target_ids = None
        if self.not_to_recommend:
            skip_target_ids = tf.gather(
                tf.where(next_is_skipped, items[:, 1:], 0), positions, axis=1, batch_dims=1
            )
            skip_target_ids = tf.where(used, skip_target_ids, 0)
        target_feedback = None
        if self.keep:
            target_feedback = tf.gather(
                batch["feedback"], tf.maximum(target_column, 0), axis=1, batch_dims=1
            )
        return training_targets.training_element(
            batch=batch,
            inputs=inputs,
            positions=positions,
            is_target=is_target,
            target_ids=target_ids,
            labels=labels,
            skip_target_ids=skip_target_ids,
            target_feedback=target_feedback,
            sampled=self.sampled,
            skips_as_negatives=self.skips_as_negatives,
        )


def pack_positions(is_asked: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The columns that are asked for, first ones first, in as few slots as the fullest row needs.

    Slots are counted in multiples of 8, on JAX of half the row's length, so that few shapes occur.

    Args:
        is_asked: bool `(batch, length)`.

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
