"""What the training targets of causal and of cloze models have in common."""

from __future__ import annotations

from keras_negrec.argument_checks import check_choice
from keras_negrec.backend.tensorflow import tf


def check_target(target: str, not_to_recommend: bool, keep: bool) -> None:
    """Refuses an unknown target, and one that contradicts a negative-feedback loss."""
    check_choice("target", target, ("next_positive", "next"))
    if not_to_recommend and keep:
        raise ValueError(
            "`not_to_recommend` and `keep` cannot be combined: one lowers skipped items where they "
            "are shown, the other has them as targets there and weighs all items afterwards."
        )
    if keep and target != "next":
        raise ValueError(
            '`keep` needs target="next": it learns which of the items that are shown next are '
            f"kept. Received: target={target!r}"
        )
    if not_to_recommend and target == "next":
        raise ValueError(
            '`not_to_recommend` needs target="next_positive": with "next", skipped items are '
            'targets. Received: target="next"'
        )


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


def candidate_labels(
    batch: dict, positive_column: tf.Tensor, candidate_session: tf.Tensor
) -> tf.Tensor:
    """Labels of the session's own items for the contrastive negative-feedback loss.

    Args:
        batch: dict of `(batch, length)` tensors, the candidates.
        positive_column: int32 `(batch, contexts)`, the column of each context's positive, -1
            for a context that has none.
        candidate_session: bool `(batch, contexts, length)`, whether a candidate is of the
            context's session.

    Returns:
        int8 `(batch, contexts, length)`: 1 the positive, 0 a negative, -1 no candidate. A
        skipped item that is also the positive is no negative. A context without a positive or
        without a negative has -1 throughout.
    """
    items = batch["item_ids"]
    columns = tf.range(tf.shape(items)[1])
    positive = columns == positive_column[..., tf.newaxis]
    positive_item = tf.gather(items, tf.maximum(positive_column, 0), axis=1, batch_dims=1)
    negative = (
        (batch["feedback"] < 0)[:, tf.newaxis, :]
        & (items > 0)[:, tf.newaxis, :]
        & candidate_session
        & (items[:, tf.newaxis, :] != positive_item[..., tf.newaxis])
    )
    labels = tf.where(positive, 1, tf.where(negative, 0, -1))
    counts = (positive_column >= 0) & tf.reduce_any(negative, axis=-1)
    return tf.cast(tf.where(counts[..., tf.newaxis], labels, -1), "int8")


def training_element(
    *,
    batch: dict,
    inputs: dict,
    positions: tf.Tensor,
    is_target: tf.Tensor,
    target_ids: tf.Tensor,
    labels: tf.Tensor | None,
    skip_target_ids: tf.Tensor | None,
    target_feedback: tf.Tensor | None,
    sampled: bool,
    skips_as_negatives: bool,
) -> tuple[dict, dict, dict]:
    """Assembles `(x, y, sample_weight)` for `Model.fit`.

    Args:
        batch: dict of the whole rows `(batch, length)`: the candidates of the similarities, and
            the skipped items that are negatives.
        inputs: dict of what the encoder sees.
        positions: int32 `(batch, num_positions)`, the encoder's columns that predict.
        is_target: bool `(batch, num_positions)`, False for slots without a target.
        target_ids: int32 `(batch, num_positions)`, item ids.
        labels: int8 `(batch, contexts, length)` or None, from `candidate_labels`.
        skip_target_ids: int32 `(batch, num_positions)` or None, what was skipped at each
            position, 0 where nothing was.
        target_feedback: int32 `(batch, num_positions)` or None, how the targets were received,
            for the keep loss.
        sampled: whether the model is told the target, as for sampled negatives, and class 0 is
            it; otherwise the class is `id - 1`.
        skips_as_negatives: whether the row's skipped items are negatives of their own.
    """
    x = {**inputs, "target_positions": positions}
    y, sample_weight = {}, {}
    asked = {"next_item": ("target_ids", tf.where(is_target, target_ids, 0))}
    if skip_target_ids is not None:
        asked["not_to_recommend"] = ("skip_target_ids", skip_target_ids)
    for output, (name, ids) in asked.items():
        if sampled:
            x[name] = ids
        y[output] = tf.zeros_like(ids) if sampled else tf.maximum(ids - 1, 0)
        sample_weight[output] = tf.cast(ids > 0, "float32")
    if target_feedback is not None:
        x["target_ids"] = asked["next_item"][1]
        y["keep"] = tf.cast(target_feedback > 0, "float32")[..., tf.newaxis]
        sample_weight["keep"] = tf.cast(is_target & (target_feedback != 0), "float32")
    if skips_as_negatives:
        x["skipped_ids"] = tf.where(batch["feedback"] < 0, batch["item_ids"], 0)
    if labels is not None:
        x["candidate_ids"] = batch["item_ids"]
        y["contrastive"] = labels
        sample_weight["contrastive"] = tf.ones(tf.shape(labels)[:2])
    return x, y, sample_weight
