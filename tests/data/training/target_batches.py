"""Batches with all kinds of holes, and slow references for what their targets are."""

import numpy as np
from hypothesis import strategies as st

from keras_negrec.models import feedback, objectives

NUM_ITEMS = 6


def parts(
    contrastive=None, not_to_recommend=False, keep=0, sampled=False, skips_as_negatives=False
):
    """Objective and feedback terms, as arguments of the targets; `keep` is a horizon."""
    objective = objectives.Softmax()
    if sampled or skips_as_negatives:
        objective = objectives.SampledSoftmax(5, skips_as_negatives=skips_as_negatives)
    terms = [feedback.Contrastive(context=contrastive)] if contrastive else []
    terms += [feedback.Preference()] if contrastive == "hidden" else []
    terms += [feedback.NotToRecommend()] if not_to_recommend else []
    terms += [feedback.Keep(horizon=keep)] if keep else []
    return {"objective": objective, "feedback": terms}


def choices(contrastive, **further):
    """All ways to combine the arguments of `parts` with a target, and further ones."""
    booleans = ("not_to_recommend", "sampled", "skips_as_negatives")
    every = st.fixed_dictionaries(
        {
            "target": st.sampled_from(["next_positive", "next"]),
            "contrastive": st.sampled_from(contrastive),
            "keep": st.sampled_from([0, 1, 3]),
            **dict.fromkeys(booleans, st.booleans()),
            **further,
        }
    )
    needs = {"not_to_recommend": "next_positive", "keep": "next"}
    return every.filter(
        lambda chosen: all(chosen["target"] == t or not chosen[name] for name, t in needs.items())
    )


@st.composite
def target_batches(draw, min_length=2):
    """A left-padded batch of up to 3 rows; a row may be one event, all skipped, all kept."""
    length = draw(st.integers(min_length, 11))
    rows = draw(st.integers(1, 3))
    several = draw(st.booleans())
    batch = {"item_ids": np.zeros((rows, length), "int32")}
    batch["feedback"] = np.zeros_like(batch["item_ids"])
    if several:
        batch["session_ids"] = np.zeros_like(batch["item_ids"])
    for row in range(rows):
        filled = draw(st.integers(1, length))
        values = draw(st.sampled_from([[-2, -1, 0, 1, 2], [-1], [1], [-1, 1, 1], [0, -1]]))
        for column in range(length - filled, length):
            batch["item_ids"][row, column] = draw(st.integers(1, NUM_ITEMS))
            batch["feedback"][row, column] = draw(st.sampled_from(values))
        if several:
            # As in batches: padding has session 0, which may also be a session's index.
            steps = draw(st.lists(st.booleans(), min_size=filled, max_size=filled))
            ids = draw(st.integers(0, 1)) + np.cumsum(steps)
            batch["session_ids"][row, length - filled :] = ids
    return batch


def row_of(batch, row):
    """Items, feedback and sessions of one row as lists."""
    items = batch["item_ids"][row].tolist()
    sessions = batch["session_ids"][row].tolist() if "session_ids" in batch else [0] * len(items)
    return items, batch["feedback"][row].tolist(), sessions


def next_event(batch, row, i, positive_only):
    """The column of the next (positive) event of the session of column i, or None."""
    items, feedback, sessions = row_of(batch, row)
    if items[i] == 0:
        return None
    for j in range(i + 1, len(items)):
        if items[j] and sessions[j] == sessions[i] and (feedback[j] > 0 or not positive_only):
            return j
    return None


def labels_of(batch, row, i, positive):
    """The labels of all columns for the context i with the positive in a column, or None."""
    items, feedback, sessions = row_of(batch, row)
    nothing = [-1] * len(items)
    if positive is None:
        return nothing
    labels = list(nothing)
    for j in range(len(items)):
        if j == positive:
            labels[j] = 1
        elif feedback[j] < 0 and sessions[j] == sessions[i] and items[j] != items[positive]:
            labels[j] = 0 if items[j] else -1
    return labels if 0 in labels else nothing


def kept_of(batch, row, first, horizon, hidden):
    """Of each column 1 for kept, -1 for skipped, 0 for what the keep term does not ask there."""
    _, feedback, sessions = row_of(batch, row)
    return [
        int(first <= j < first + horizon and sessions[j] == sessions[first] and hidden(j))
        * np.sign(feedback[j])
        for j in range(len(feedback))
    ]


def slots_of(x, y, weight, sampled, **others):
    """For each row a dict from positions to (target, skip target, *what `kept_of` gives).

    0 is for what a position is not asked. Slots that are not used hold nothing but 0.
    """
    used = weight["next_item"] == 1
    ids = x["target_ids"] if sampled else y["next_item"] + 1
    targets, skips, kept = np.where(used, ids, 0), np.zeros_like(ids), ids[..., None][..., :0]
    assert (y["next_item"][~used] == 0).all()
    if sampled:  # the target is class 0
        assert (y["next_item"] == 0).all() and (ids[~used] == 0).all()
    if "not_to_recommend" in y:
        is_skip = weight["not_to_recommend"] == 1
        assert (y["not_to_recommend"][~is_skip] == 0).all()
        skips = np.where(is_skip, x["skip_target_ids"] if sampled else y["not_to_recommend"] + 1, 0)
    if "keep" in y:
        kept = np.where(weight["keep"] == 1, np.where(y["keep"][..., 0] > 0, 1, -1), 0)
        assert (kept[~used] == 0).all()
    positions, asked = x["target_positions"], (targets > 0) | (skips > 0)
    assert used.shape == positions.shape and (positions[~asked] == 0).all()
    slots = np.concatenate([np.stack([positions, targets, skips], axis=-1), kept], axis=-1)
    rows = [
        {p: tuple(own) for p, *own in slots[row][asked[row]].tolist()} for row in range(len(used))
    ]
    assert [len(row) for row in rows] == asked.sum(1).tolist()  # no position twice
    return rows
