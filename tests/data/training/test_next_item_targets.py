import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from target_batches import choices, kept_of, labels_of, next_event, parts, slots_of, target_batches

from keras_negrec.data import NextItemTargets


def transform(batch, target="next_positive", **arguments):
    x, y, weight = NextItemTargets(target, **parts(**arguments)).transform(batch)
    return tuple({name: values.numpy() for name, values in part.items()} for part in (x, y, weight))


@given(target_batches(), choices([None, "hidden", "item"]))
def test_against_reference(batch, arguments):
    arguments["sampled"] |= arguments["skips_as_negatives"]
    x, y, weight = transform(batch, **arguments)
    not_to_recommend, keep = arguments["not_to_recommend"], arguments["keep"]
    items, feedback = batch["item_ids"], batch["feedback"]
    rows, length = items.shape
    for name, values in batch.items():
        np.testing.assert_array_equal(x[name], values[:, :-1])  # the last event is a target only
    expected = [{} for _ in range(rows)]
    for row, i in np.ndindex(rows, length - 1):
        target = next_event(batch, row, i, arguments["target"] == "next_positive")
        after = next_event(batch, row, i, positive_only=False)
        is_skip = not_to_recommend and after is not None and feedback[row, after] < 0
        if target is not None or is_skip:
            expected[row][i] = (
                0 if target is None else items[row, target],
                items[row, after] if is_skip else 0,
                *(kept_of(batch, row, i + 1, keep, lambda j: True) if keep else ()),
            )
    assert slots_of(x, y, weight, **arguments) == expected
    fullest = max(map(len, expected))
    assert fullest <= x["target_positions"].shape[1] <= max(1, min(fullest + 7, length - 1))
    assert ("target_ids" in x) == arguments["sampled"]
    assert ("skip_target_ids" in x) == (arguments["sampled"] and not_to_recommend)
    terms = {"contrastive": arguments["contrastive"], "not_to_recommend": not_to_recommend}
    terms |= {"keep": keep, "next_item": True, "preference": arguments["contrastive"] == "hidden"}
    assert set(y) == set(weight) == {name for name, is_there in terms.items() if is_there}
    assert ("skipped_ids" in x) == arguments["skips_as_negatives"]
    if "skipped_ids" in x:
        np.testing.assert_array_equal(x["skipped_ids"], np.where(feedback < 0, items, 0))
    assert ("candidate_ids" in x) == bool(keep or arguments["contrastive"])
    if arguments["contrastive"]:
        np.testing.assert_array_equal(x["candidate_ids"], items)
        check_labels(batch, x, y, weight, arguments["contrastive"])


def check_labels(batch, x, y, weight, contrastive):
    labels = y["contrastive"]
    np.testing.assert_array_equal(y.get("preference", labels), labels)
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
    for items, expected in (([1, 2, 3, 2], [-1, -1, 0, 1]), ([1, 2, 2, 2], [-1] * 4)):
        _, y, _ = transform(one_row(items, [1, -1, -1, 1]), contrastive="item")
        assert y["contrastive"][0, 0].tolist() == expected


def test_as_a_dataset_transformation():
    batch = one_row([1, 2, 3], [1, -1, 1])
    dataset = tf.data.Dataset.from_tensors(batch).repeat(2)
    elements = list(dataset.apply(NextItemTargets(**parts(contrastive="hidden"))))
    assert len(elements) == 2
    expected = NextItemTargets(**parts(contrastive="hidden")).transform(batch)
    tf.nest.map_structure(np.testing.assert_array_equal, elements[1], expected)


def test_not_to_recommend_asks_for_the_skip_right_after_each_event():
    batch = one_row([0, 1, 2, 3, 4, 5], [0, 1, -1, 1, -2, -1])
    x, y, weight = transform(batch, not_to_recommend=True)
    # After 1 comes a skip (2), and 3 is kept next; after 3 and 4 only skips come. The first skip
    # after nothing but padding has no context.
    [slots] = slots_of(x, y, weight, sampled=False)
    assert slots == {1: (3, 2), 2: (3, 0), 3: (0, 4), 4: (0, 5)}


def test_wrong_targets():
    with pytest.raises(ValueError, match="`target` must be one of"):
        NextItemTargets("previous")
    with pytest.raises(ValueError, match='needs target="next_positive"'):
        NextItemTargets("next", **parts(not_to_recommend=True))
