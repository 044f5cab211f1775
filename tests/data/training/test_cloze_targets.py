import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from target_batches import NUM_ITEMS, choices, labels_of, next_event, parts, target_batches

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
    return {
        name: np.concatenate([np.zeros(shift, "int32"), values[row, : values.shape[1] - shift]])[
            np.newaxis
        ]
        for name, values in batch.items()
    }


def is_target(batch, target):
    return batch["feedback"] > 0 if target == "next_positive" else batch["item_ids"] > 0


@given(target_batches(min_length=1), CHOICES, st.integers(0, 1000))
def test_against_reference(batch, arguments, seed):
    arguments["sampled"] |= arguments["skips_as_negatives"]
    x, y, weight = transform(batch, seed, **arguments)
    length = batch["item_ids"].shape[1]
    for row in range(len(batch["item_ids"])):
        targets = np.flatnonzero(is_target(batch, arguments["target"])[row])
        shift = 0
        if len(targets) and (x["candidate_ids"][row] != batch["item_ids"][row]).any():
            shift = length - 1 - targets[-1]  # a row that is cut after its last target
        own = shifted(batch, row, shift)
        np.testing.assert_array_equal(x["candidate_ids"][row], own["item_ids"][0])

        used = weight["next_item"][row] == 1
        asked = used
        maskable = is_target(own, arguments["target"])[0]
        if arguments["not_to_recommend"]:
            is_skip = weight["not_to_recommend"][row] == 1
            assert not (used & is_skip).any()
            asked = used | is_skip
            skips = x["target_positions"][row][is_skip]
            assert (own["feedback"][0, skips] < 0).all()
            ids = (
                x["skip_target_ids"][row]
                if arguments["sampled"]
                else y["not_to_recommend"][row] + 1
            )
            np.testing.assert_array_equal(ids[is_skip], own["item_ids"][0, skips])
            assert (y["not_to_recommend"][row][~is_skip] == 0).all()
            maskable |= own["feedback"][0] < 0
        positions = x["target_positions"][row][asked]
        assert (len(positions) > 0) == maskable.any()
        assert len(set(positions)) == len(positions)
        assert maskable[positions].all()
        assert is_target(own, arguments["target"])[0, x["target_positions"][row][used]].all()
        if shift:
            assert positions.tolist() == [length - 1]
        if arguments["keep"]:
            received = own["feedback"][0, x["target_positions"][row][used]]
            np.testing.assert_array_equal(y["keep"][row, used, 0], received > 0)
            np.testing.assert_array_equal(weight["keep"][row, used], received != 0)
            assert (weight["keep"][row][~used] == 0).all()
        if arguments["skips_as_negatives"]:
            skipped = np.where(own["feedback"][0] < 0, own["item_ids"][0], 0)
            np.testing.assert_array_equal(x["skipped_ids"][row], skipped)
        else:
            assert "skipped_ids" not in x

        masked = np.isin(np.arange(length), positions)
        np.testing.assert_array_equal(
            x["item_ids"][row], np.where(masked, MASK, own["item_ids"][0])
        )
        np.testing.assert_array_equal(x["feedback"][row], np.where(masked, 0, own["feedback"][0]))
        if "session_ids" in batch:
            np.testing.assert_array_equal(x["session_ids"][row], own["session_ids"][0])

        classes = y["next_item"][row]
        ids = x["target_ids"][row] if arguments["sampled"] else classes + 1
        targets = x["target_positions"][row][used]
        np.testing.assert_array_equal(ids[used], own["item_ids"][0, targets])
        assert (classes[~used] == 0).all()
        if arguments["sampled"]:
            assert (classes == 0).all()
            assert (ids[~used] == 0).all()

        labels = y["contrastive"][row].tolist()
        if arguments["contrastive"] == "item":
            contexts = [(i, next_event(own, 0, i, positive_only=True)) for i in range(length)]
        else:  # the masked item itself is the positive
            contexts = [
                (i, i if is_used and own["feedback"][0, i] > 0 else None)
                for i, is_used in zip(x["target_positions"][row], used, strict=True)
            ]
        assert labels == [labels_of(own, 0, i, positive) for i, positive in contexts]


def long_rows(rows=500, length=20):
    """Rows of kept events, all but the last three, which were skipped."""
    items = np.random.default_rng(0).integers(1, NUM_ITEMS + 1, (rows, length))
    feedback = np.ones((rows, length), int)
    feedback[:, -3:] = -1
    return {"item_ids": items, "feedback": feedback}


def test_share_of_masked_events():
    x, _, weight = transform(long_rows(), mask_probability=0.3, last_probability=0.0)
    masked = x["item_ids"] == MASK
    np.testing.assert_array_equal(masked.sum(1), weight["next_item"].sum(1))
    assert not masked[:, -3:].any()
    assert masked.sum(1).mean() / 17 == pytest.approx(0.3, abs=0.01)
    share = masked[:, :-3].mean(0)  # each event about as often as any other
    assert share.min() > 0.2
    assert share.max() < 0.4


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
    only_last = weight["next_item"].sum(1) == 1  # others have 8 or 9
    assert only_last.mean() == pytest.approx(0.3, abs=0.06)
    rows = np.flatnonzero(only_last)
    assert (x["item_ids"][rows, -1] == MASK).all()
    assert (x["item_ids"][rows, :-1] != MASK).all()
    # The three skips after the last kept event are gone, and padding has come in front.
    np.testing.assert_array_equal(x["item_ids"][rows, 3:-1], batch["item_ids"][rows, :-4])
    assert (x["item_ids"][rows, :3] == 0).all()
    np.testing.assert_array_equal(y["next_item"][rows, 0] + 1, batch["item_ids"][rows, -4])
    others = np.flatnonzero(~only_last)
    assert (x["item_ids"][others, -1] != MASK).all()


def epochs(seed, num_epochs=2):
    dataset = tf.data.Dataset.from_tensors(long_rows(rows=20)).apply(
        ClozeTargets(mask_id=MASK, seed=seed)
    )
    return [np.concatenate([x["item_ids"] for x, _, _ in dataset]) for _ in range(num_epochs)]


def test_masks_differ_between_epochs_and_repeat_with_the_seed():
    first, second = epochs(seed=1)
    assert (first != second).any()
    again = epochs(seed=1)
    np.testing.assert_array_equal(again, [first, second])
    assert (epochs(seed=2)[0] != first).any()


def test_masks_differ_between_batches():
    batch = long_rows(rows=20)
    dataset = tf.data.Dataset.from_tensors(batch).repeat(2).apply(ClozeTargets(mask_id=MASK))
    first, second = (x["item_ids"].numpy() for x, _, _ in dataset)
    assert (first != second).any()


def test_nothing_to_mask():
    batch = {"item_ids": np.array([[0, 3, 4]]), "feedback": np.array([[0, -1, -1]])}
    x, y, weight = transform(batch, contrastive="hidden", last_probability=0.9)
    np.testing.assert_array_equal(x["item_ids"], [[0, 3, 4]])
    assert (weight["next_item"] == 0).all()
    assert (y["contrastive"] == -1).all()


def test_polarity_of_labels():
    batch = {"item_ids": np.array([[1, 2, 3, 4]]), "feedback": np.array([[-1, 0, -2, 1]])}
    _, y, _ = transform(batch, contrastive="hidden", last_probability=0.99)
    assert y["contrastive"][0, 0].tolist() == [0, -1, 0, 1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mask_id", 0),
        ("mask_probability", 1.0),
        ("last_probability", -0.1),
        ("target", "previous"),
    ],
)
def test_bad_arguments(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        ClozeTargets(**{"mask_id": 5, name: value})


def test_not_to_recommend_masks_skipped_events_too():
    x, _, weight = transform(
        long_rows(), mask_probability=0.3, last_probability=0.0, not_to_recommend=True
    )
    masked = x["item_ids"] == MASK
    assert masked[:, -3:].mean() == pytest.approx(0.3, abs=0.03)
    assert (x["feedback"][masked] == 0).all()
    np.testing.assert_array_equal(masked[:, -3:].sum(1), weight["not_to_recommend"].sum(1))
    np.testing.assert_array_equal(masked[:, :-3].sum(1), weight["next_item"].sum(1))


def test_not_to_recommend_contradicts_the_next_item_as_target():
    with pytest.raises(ValueError, match='needs target="next_positive"'):
        ClozeTargets(MASK, target="next", **parts(not_to_recommend=True))
