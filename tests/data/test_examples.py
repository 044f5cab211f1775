import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_negrec.data.examples import Examples
from keras_negrec.data.sessions import Sessions


def sessions():
    return Sessions.from_lists(
        [[1, 2, 3, 4, 5], [6, 7, 8], [9, 1], [2, 3]],
        [[1, -1, 2, -2, 1], [1, 0, 1], [1, -1], [-1, 1]],
        keys=["u", "v", "w", "x"],
    )


def test_after():
    examples = Examples.after(sessions(), np.array([1, 1, 1, 1]))
    # `w` has no positive event after its first and cannot be ranked.
    assert examples.histories.keys.tolist() == ["u", "v", "x"]
    assert examples.targets.tolist() == [3, 8, 3]
    assert examples.skip_targets.tolist() == [2, 0, 0]
    assert examples.histories.item_ids.tolist() == [1, 6, 2]
    assert examples.targets.dtype == examples.skip_targets.dtype == "int32"


def test_rows_without_history_or_future_are_left_out():
    assert len(Examples.after(sessions(), np.array([0, 0, 0, 0]))) == 0
    assert len(Examples.after(sessions(), np.array([5, 3, 2, 2]))) == 0


def test_take():
    examples = Examples.after(sessions(), np.array([1, 1, 1, 1])).take([2, 0])
    assert examples.histories.keys.tolist() == ["x", "u"]
    assert examples.targets.tolist() == [3, 3]
    assert examples.skip_targets.tolist() == [0, 2]
    assert len(examples.take([])) == 0


@pytest.mark.parametrize("name", ["targets", "skip_targets"])
def test_arrays_of_another_length(name):
    arrays = {"targets": np.ones(4, "int32"), "skip_targets": np.zeros(4, "int32")}
    arrays[name] = arrays[name][:3]
    with pytest.raises(ValueError, match=f"`{name}` .* 4 histories. Received: 3 values"):
        Examples(sessions(), **arrays)


def test_every_example_needs_a_target():
    with pytest.raises(ValueError, match="Received a target below 1"):
        Examples(sessions(), np.array([1, 2, 0, 1]), np.zeros(4, "int32"))


def test_only_the_skipped_item_may_be_known():
    examples = Examples(sessions(), np.array([1, 0, 2, 0]), np.array([0, 3, 4, 1]))
    assert examples.take([1, 0]).targets.tolist() == [0, 1]
    assert Examples(sessions(), np.array([1, 2, 3, 4])).skip_targets.tolist() == [0] * 4


def test_the_next_event_alone():
    examples = Examples.after(sessions(), np.array([1, 1, 1, 1]), target="next")
    assert examples.histories.keys.tolist() == ["u", "w", "x"]  # v's next event is unknown
    assert examples.targets.tolist() == [0, 0, 3]
    assert examples.skip_targets.tolist() == [2, 1, 0]
    with pytest.raises(ValueError, match="`target` must be one of 'next_positive', 'next'"):
        Examples.after(sessions(), np.array([1, 1, 1, 1]), target="previous")


@pytest.mark.parametrize("target", ["next_positive", "next"])
@pytest.mark.parametrize("starts", [1, 2, np.array([3, 1, 1, 9])])
def test_every_prefix(starts, target):
    rows = sessions()
    examples = Examples.every_prefix(rows, starts, target=target)
    expected = []
    for row, (start, length) in enumerate(
        zip(np.broadcast_to(starts, 4).tolist(), rows.lengths.tolist(), strict=True)
    ):
        for cut in range(start, length):
            one = Examples.after(rows.take([row]), np.array([cut]), target=target)
            expected += zip(one.histories.keys, one.targets, one.skip_targets, strict=True)
    keys = examples.histories.keys
    assert list(zip(keys, examples.targets, examples.skip_targets, strict=True)) == expected
    assert len(expected) > 2


def test_excluded_items():
    lists = [[3], [], [1, 2], [5]]
    examples = Examples(sessions(), np.array([1, 2, 3, 4]), excluded_items=lists).take([2, 1])
    assert examples.excluded_items.lengths.tolist() == [2, 0]
    assert examples.excluded_items.item_ids.tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"`excluded_items` .* 4 histories. Received: 3 values"):
        Examples(sessions(), np.array([1, 2, 3, 4]), excluded_items=lists[:3])
    prints = {
        Examples(sessions(), np.array([1, 2, 3, 4]), excluded_items=items).fingerprint()
        for items in (None, lists, [[3], [], [1], [5]])
    }
    assert len(prints) == 3


def test_sessions_for_a_held_out_loss():
    rows = Sessions.from_lists(
        [[1, 2, 3], [4, 5], [6, 7]], [[1, -1, 1], [1, -1], [1, 1]], [[0, 0, 1], [0, 0], [0, 1]]
    )
    examples = Examples(rows, np.array([8, 0, 9]), np.array([0, 8, 0]))
    found = examples.sessions()
    assert found.lengths.tolist() == [4, 3] and found.keys.tolist() == [0, 2]
    assert found.item_ids.tolist() == [1, 2, 3, 8, 6, 7, 9]
    assert found.feedback.tolist() == [1, -1, 1, 1, 1, 1, 1]
    assert found.session_ids.tolist() == [0, 0, 1, 1, 0, 1, 1]
    after = Examples.after(found, found.lengths - 1)
    assert after.targets.tolist() == [8, 9]
    empty = Examples(rows.between(0, 0), np.array([8, 8, 8])).sessions()
    assert empty.item_ids.tolist() == [8, 8, 8] and empty.session_ids.tolist() == [0, 0, 0]


@given(st.data())
def test_after_against_a_loop(data):
    feedback = data.draw(
        st.lists(st.lists(st.integers(-2, 2), min_size=1, max_size=8), min_size=1, max_size=5)
    )
    items = [[10 * i + j + 1 for j in range(len(row))] for i, row in enumerate(feedback)]
    cuts = [data.draw(st.integers(0, len(row))) for row in feedback]
    examples = Examples.after(Sessions.from_lists(items, feedback), np.array(cuts))
    expected = []
    for row, marks, cut in zip(items, feedback, cuts, strict=True):
        late = list(zip(row, marks, strict=True))[cut:]
        kept = [item for item, mark in late if mark > 0]
        skipped = [item for item, mark in late if mark < 0]
        if cut and kept:
            expected.append((row[:cut], kept[0], skipped[0] if skipped else 0))
    histories = np.split(examples.histories.item_ids, examples.histories.row_splits[1:-1])
    received = [
        (history.tolist(), target, skip)
        for history, target, skip in zip(
            histories, examples.targets.tolist(), examples.skip_targets.tolist(), strict=False
        )
    ]
    assert received == expected


def test_fingerprint_is_that_of_the_values():
    examples = Examples(sessions(), np.array([1, 2, 3, 1]), np.array([0, 1, 0, 2]))
    same = Examples(sessions(), examples.targets.astype("int32"), examples.skip_targets)
    assert examples.fingerprint() == same.fingerprint()
    # stays what it is, in every process: stored runs depend on it
    assert examples.fingerprint().startswith("6b4ed1bf720cc2f6")


@pytest.mark.parametrize("changed", ["item_ids", "feedback", "splits", "targets", "skip_targets"])
def test_fingerprint_tells_everything_apart(changed):
    arrays = {
        "item_ids": np.array([1, 2, 3]),
        "feedback": np.array([1, 1, -1]),
        "splits": np.array([0, 1, 3]),
        "targets": np.array([1, 2]),
        "skip_targets": np.array([0, 2]),
    }

    def fingerprint():
        histories = Sessions(
            {name: arrays[name] for name in ("item_ids", "feedback")},
            arrays["splits"],
            np.arange(2),
        )
        return Examples(histories, arrays["targets"], arrays["skip_targets"]).fingerprint()

    before = fingerprint()
    arrays[changed] = arrays[changed].copy()
    arrays[changed][1] += -2 if changed == "feedback" else 1
    assert fingerprint() != before


def test_fingerprint_of_sessions_inside_a_history():
    lists = [[1, 2, 3]], [[1, 1, 1]]
    prints = {
        Sessions.from_lists(*lists, *session_ids).fingerprint()
        for session_ids in ([], [[[0, 0, 0]]], [[[0, 0, 1]]])
    }
    assert len(prints) == 3
