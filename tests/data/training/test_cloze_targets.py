import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from target_batches import (
    NUM_ITEMS,
    choices,
    kept_of,
    labels_of,
    next_event,
    parts,
    slots_of,
    target_batches,
)

from keras_negrec.data import ClozeTargets

MASK = NUM_ITEMS + 1
CHOICES = choices(
    ["hidden", "item"],
    mask_probability=st.sampled_from([0.0, 0.2, 0.7]),
    last_probability=st.sampled_from([0.0, 0.5, 0.99]),
)
OWN = ("mask_probability", "last_probability", "target")


def transform(batch, seed=0, **arguments):
    own = {name: arguments.pop(name) for name in OWN if name in arguments}
    element = ClozeTargets(MASK, **own, **parts(**arguments)).transform(batch, [seed, 7])
    return tuple({name: values.numpy() for name, values in part.items()} for part in element)


def shifted(batch, row, shift):
    """A row without its last `shift` events, moved to the right."""
    moved = {name: np.pad(values[[row]], ((0, 0), (shift, 0))) for name, values in batch.items()}
    return {name: values[:, : batch[name].shape[1]] for name, values in moved.items()}


def is_target(batch, target):
    return batch["feedback"] > 0 if target == "next_positive" else batch["item_ids"] > 0


@given(target_batches(min_length=1), CHOICES, st.integers(0, 1000))
def test_against_reference(batch, arguments, seed):
    arguments["sampled"] |= arguments["skips_as_negatives"]
    x, y, weight = transform(batch, seed, **arguments)
    length, keep = batch["item_ids"].shape[1], arguments["keep"]
    for row, slots in enumerate(slots_of(x, y, weight, **arguments)):
        targets = np.flatnonzero(is_target(batch, arguments["target"])[row])
        shift = 0
        if len(targets) and (x["candidate_ids"][row] != batch["item_ids"][row]).any():
            shift = length - 1 - targets[-1]  # a row that is cut after its last target
        own = shifted(batch, row, shift)
        items, feedback = own["item_ids"][0], own["feedback"][0]
        np.testing.assert_array_equal(x["candidate_ids"][row], items)

        can_be_target = is_target(own, arguments["target"])[0]
        is_skip = (feedback < 0) & arguments["not_to_recommend"]
        assert (len(slots) > 0) == (can_be_target | is_skip).any()
        assert list(slots) == [length - 1] or not shift
        assert slots == {
            position: (
                items[position] * can_be_target[position],
                items[position] * is_skip[position],
                *(kept_of(own, 0, position, keep, slots.__contains__) if keep else ()),
            )
            for position in slots
        }
        masked = np.isin(np.arange(length), list(slots))
        np.testing.assert_array_equal(x["item_ids"][row], np.where(masked, MASK, items))
        np.testing.assert_array_equal(x["feedback"][row], np.where(masked, 0, feedback))
        if "session_ids" in batch:
            np.testing.assert_array_equal(x["session_ids"][row], own["session_ids"][0])
        assert ("skipped_ids" in x) == arguments["skips_as_negatives"]
        if "skipped_ids" in x:
            np.testing.assert_array_equal(x["skipped_ids"][row], np.where(feedback < 0, items, 0))

        if arguments["contrastive"] == "item":
            contexts = [(i, next_event(own, 0, i, positive_only=True)) for i in range(length)]
        else:  # the masked item itself is the positive
            used = weight["next_item"][row] == 1
            contexts = [
                (i, i if is_used and feedback[i] > 0 else None)
                for i, is_used in zip(x["target_positions"][row], used, strict=True)
            ]
        labels = y["contrastive"][row].tolist()
        assert y.get("preference", y["contrastive"])[row].tolist() == labels
        assert labels == [labels_of(own, 0, i, positive) for i, positive in contexts]


def long_rows(rows=500, length=20):
    """Rows of kept events, all but the last three, which were skipped."""
    items = np.random.default_rng(0).integers(1, NUM_ITEMS + 1, (rows, length))
    feedback = np.ones((rows, length), int)
    feedback[:, -3:] = -1
    return {"item_ids": items, "feedback": feedback}


@pytest.mark.parametrize("not_to_recommend", [False, True])
def test_share_of_masked_events(not_to_recommend):
    options = {"mask_probability": 0.3, "last_probability": 0.0}
    x, _, weight = transform(long_rows(), not_to_recommend=not_to_recommend, **options)
    masked = x["item_ids"] == MASK
    np.testing.assert_array_equal(masked[:, :-3].sum(1), weight["next_item"].sum(1))
    share = masked.mean(0)  # each event about as often as any other
    assert share[:-3].mean() == pytest.approx(0.3, abs=0.01)
    assert share[:-3].min() > 0.2 and share[:-3].max() < 0.4
    assert share[-3:].mean() == pytest.approx(0.3 if not_to_recommend else 0, abs=0.03)
    if not_to_recommend:
        skips = weight["not_to_recommend"].sum(1)
        np.testing.assert_array_equal(masked[:, -3:].sum(1), skips)


def test_any_event_is_masked_for_the_next_item():
    batch = long_rows()
    x, _, _ = transform(batch, mask_probability=0.5, last_probability=0.0, target="next")
    assert (x["item_ids"] == MASK)[:, -3:].any()
    batch["item_ids"][:, :5] = batch["feedback"][:, :5] = 0
    x, _, _ = transform(batch, mask_probability=0.9, last_probability=0.0, target="next")
    assert not (x["item_ids"] == MASK)[:, :5].any()  # padding never


def test_share_of_rows_that_end_with_the_mask():
    batch = long_rows()
    x, y, weight = transform(batch, mask_probability=0.5, last_probability=0.3)
    items, only_last = x["item_ids"], weight["next_item"].sum(1) == 1  # others have 8 or 9
    assert only_last.mean() == pytest.approx(0.3, abs=0.06)
    assert (items[only_last, -1] == MASK).all() and (items[only_last, :-1] != MASK).all()
    # The three skips after the last kept event are gone, and padding has come in front.
    np.testing.assert_array_equal(items[only_last, 3:-1], batch["item_ids"][only_last, :-4])
    assert (items[only_last, :3] == 0).all()
    np.testing.assert_array_equal(
        y["next_item"][only_last, 0] + 1, batch["item_ids"][only_last, -4]
    )
    assert (items[~only_last, -1] != MASK).all()


def epochs(seed):
    """The masked items of two epochs of two equal batches: (epoch, batch, row, column)."""
    dataset = tf.data.Dataset.from_tensors(long_rows(rows=20)).repeat(2)
    dataset = dataset.apply(ClozeTargets(mask_id=MASK, seed=seed))
    return np.array([[x["item_ids"] for x, _, _ in dataset] for _ in range(2)])


def test_masks_differ_between_batches_and_epochs_and_repeat_with_the_seed():
    masks = epochs(seed=1)
    assert (masks[0] != masks[1]).any() and (masks[:, 0] != masks[:, 1]).any()
    np.testing.assert_array_equal(epochs(seed=1), masks)
    assert (epochs(seed=2) != masks).any()


def test_polarity_of_labels():
    batch = {"item_ids": np.array([[1, 2, 3, 4]]), "feedback": np.array([[-1, 0, -2, 1]])}
    _, y, _ = transform(batch, contrastive="hidden", last_probability=0.99)
    assert y["contrastive"][0, 0].tolist() == [0, -1, 0, 1]


@pytest.mark.parametrize("bad", [{"mask_id": 0}, {"mask_probability": 1.0}, {"target": "other"}])
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match=f"`{next(iter(bad))}` must be"):
        ClozeTargets(**{"mask_id": 5} | bad)
