import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from target_batches import choices, labels_of, next_event, parts, target_batches

from keras_negrec.data import NextItemTargets


def transform(batch, target="next_positive", **arguments):
    x, y, weight = NextItemTargets(target, **parts(**arguments)).transform(batch)
    return tuple({name: values.numpy() for name, values in part.items()} for part in (x, y, weight))


@given(target_batches(), choices([None, "hidden", "item"]))
def test_against_reference(batch, arguments):
    arguments["sampled"] |= arguments["skips_as_negatives"]
    x, y, weight = transform(batch, **arguments)
    rows, length = batch["item_ids"].shape
    not_to_recommend = arguments["not_to_recommend"]
    for name, values in batch.items():
        np.testing.assert_array_equal(x[name], values[:, :-1])  # the last event is a target only
    classes, weights, positions = y["next_item"], weight["next_item"], x["target_positions"]
    assert classes.shape == weights.shape == positions.shape
    fullest = 0
    for row in range(rows):
        expected = [
            (i, batch["item_ids"][row, j])
            for i in range(length - 1)
            if (j := next_event(batch, row, i, arguments["target"] == "next_positive")) is not None
        ]
        skips = [
            (i, batch["item_ids"][row, j])
            for i in range(length - 1)
            if (j := next_event(batch, row, i, positive_only=False)) is not None
            and batch["feedback"][row, j] < 0
        ]
        asked = {i for i, _ in expected + (skips if not_to_recommend else [])}
        fullest = max(fullest, len(asked))
        used = weights[row] == 1
        assert set(weights[row]) <= {0, 1}
        ids = x["target_ids"][row] if arguments["sampled"] else classes[row] + 1
        found = list(zip(positions[row][used], ids[used], strict=True))
        assert found == expected
        if not_to_recommend:
            is_skip = weight["not_to_recommend"][row] == 1
            ids = x["skip_target_ids"] if arguments["sampled"] else y["not_to_recommend"] + 1
            assert list(zip(positions[row][is_skip], ids[row][is_skip], strict=True)) == skips
            assert (y["not_to_recommend"][row][~is_skip] == 0).all()
            assert (positions[row][~used & ~is_skip] == 0).all()
        else:
            assert (positions[row][~used] == 0).all()
        assert (classes[row][~used] == 0).all()
        if arguments["sampled"]:
            assert (classes[row] == 0).all()  # the target is class 0
            assert (x["target_ids"][row][~used] == 0).all()
        if arguments["keep"]:
            received = [
                batch["feedback"][row, next_event(batch, row, i, positive_only=False)]
                for i, _ in expected
            ]
            found = list(zip(y["keep"][row, used, 0], weight["keep"][row, used], strict=True))
            assert found == [(value > 0, value != 0) for value in received]
            assert (weight["keep"][row][~used] == 0).all()
    assert fullest <= positions.shape[1] <= max(1, min(fullest + 7, length - 1))
    assert ("target_ids" in x) == (arguments["sampled"] or arguments["keep"])
    assert ("keep" in y) == ("keep" in weight) == arguments["keep"]
    assert ("skip_target_ids" in x) == (arguments["sampled"] and not_to_recommend)
    if arguments["skips_as_negatives"]:
        expected = np.where(batch["feedback"] < 0, batch["item_ids"], 0)
        np.testing.assert_array_equal(x["skipped_ids"], expected)
    else:
        assert "skipped_ids" not in x
    check_labels(batch, x, y, weight, arguments["contrastive"])


def check_labels(batch, x, y, weight, contrastive):
    if contrastive is None:
        assert set(y) == set(weight) <= {"next_item", "not_to_recommend", "keep"}
        assert "candidate_ids" not in x
        return
    np.testing.assert_array_equal(x["candidate_ids"], batch["item_ids"])
    labels = y["contrastive"]
    assert (weight["contrastive"] == 1).all()
    assert weight["contrastive"].shape == labels.shape[:2]
    rows, length = batch["item_ids"].shape
    for row in range(rows):
        if contrastive == "item":
            contexts = list(range(length))
        else:
            used = weight["next_item"][row] == 1  # what is only skipped has no positive
            contexts = np.where(used, x["target_positions"][row], -1).tolist()
        assert len(contexts) == labels.shape[1]
        for context, i in enumerate(contexts):
            positive = None if i < 0 else next_event(batch, row, i, positive_only=True)
            assert labels[row, context].tolist() == labels_of(batch, row, i, positive), (row, i)


def one_row(items, feedback, session_ids=None):
    batch = {"item_ids": np.array([items]), "feedback": np.array([feedback])}
    if session_ids is not None:
        batch["session_ids"] = np.array([session_ids])
    return batch


def test_polarity_of_labels():
    batch = one_row([0, 1, 2, 3, 4, 5], [0, 1, -1, 0, -2, 2])
    _, y, _ = transform(batch, contrastive="item")
    # Skipped and disliked are negatives, unknown, kept and padding are none; 5 is kept next.
    expected = [-1, -1, 0, -1, 0, 1]
    for context in (1, 2, 3, 4):
        assert y["contrastive"][0, context].tolist() == expected
    for context in (0, 5):  # padding; nothing comes next
        assert y["contrastive"][0, context].tolist() == [-1] * 6


def test_next_positive_passes_over_skips_and_next_does_not():
    batch = one_row([1, 2, 3, 4], [1, -1, 0, 1])
    _, y, weight = transform(batch)
    np.testing.assert_array_equal(y["next_item"] + 1, [[4, 4, 4]])
    _, y, weight = transform(batch, target="next")
    np.testing.assert_array_equal(y["next_item"] + 1, [[2, 3, 4]])
    np.testing.assert_array_equal(weight["next_item"], [[1, 1, 1]])


def test_another_session_gives_neither_positives_nor_negatives():
    batch = one_row([1, 2, 3, 4, 5], [1, -1, 1, -1, 1], [0, 0, 1, 1, 1])
    _, y, _ = transform(batch, contrastive="item")
    labels = y["contrastive"][0].tolist()
    assert labels[0] == labels[1] == [-1] * 5  # nothing kept after them in their session
    assert labels[2] == labels[3] == [-1, -1, -1, 0, 1]


def test_an_item_both_kept_next_and_skipped_elsewhere_is_no_negative():
    batch = one_row([1, 2, 3, 2], [1, -1, -1, 1])
    _, y, _ = transform(batch, contrastive="item")
    assert y["contrastive"][0, 0].tolist() == [-1, -1, 0, 1]
    batch = one_row([1, 2, 2], [1, -1, 1])
    _, y, _ = transform(batch, contrastive="item")
    assert y["contrastive"][0, 0].tolist() == [-1, -1, -1]


def test_rows_are_never_mixed():
    batch = {
        "item_ids": np.array([[1, 2, 3], [4, 5, 6]]),
        "feedback": np.array([[1, -1, 1], [1, 1, 1]]),
    }
    _, y, _ = transform(batch, contrastive="hidden")
    assert (y["contrastive"][1] == -1).all()  # the skip is the other row's
    assert y["contrastive"][0, 0].tolist() == [-1, 0, 1]


def test_as_a_dataset_transformation():
    batch = one_row([1, 2, 3], [1, -1, 1])
    dataset = tf.data.Dataset.from_tensors(batch).repeat(2)
    elements = list(dataset.apply(NextItemTargets(**parts(contrastive="hidden"))))
    assert len(elements) == 2
    expected = NextItemTargets(**parts(contrastive="hidden")).transform(batch)
    tf.nest.map_structure(np.testing.assert_array_equal, elements[1], expected)


def test_unknown_target():
    with pytest.raises(ValueError, match="`target` must be one of"):
        NextItemTargets("previous")


def test_not_to_recommend_asks_for_the_skip_right_after_each_event():
    batch = one_row([0, 1, 2, 3, 4, 5], [0, 1, -1, 1, -2, -1])
    x, y, weight = transform(batch, not_to_recommend=True)
    positions = x["target_positions"][0].tolist()
    found = {
        position: (int(target) + 1 if kept else None, int(skip) + 1 if skipped else None)
        for position, target, kept, skip, skipped in zip(
            positions,
            y["next_item"][0],
            weight["next_item"][0],
            y["not_to_recommend"][0],
            weight["not_to_recommend"][0],
            strict=True,
        )
    }
    # After 1 comes a skip (2), and 3 is kept next; after 3 and 4 only skips come. The first skip
    # after nothing but padding has no context.
    del found[0]
    assert found == {1: (3, 2), 2: (3, None), 3: (None, 4), 4: (None, 5)}


def test_not_to_recommend_contradicts_the_next_item_as_target():
    with pytest.raises(ValueError, match='needs target="next_positive"'):
        NextItemTargets("next", **parts(not_to_recommend=True))
