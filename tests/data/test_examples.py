from itertools import zip_longest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ragged_rows import found, rows_and_feedback, rows_of

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
    assert found(examples) == [("u", [1], 3, 2), ("v", [6], 8, 0), ("x", [2], 3, 0)]
    assert examples.targets.dtype == examples.skip_targets.dtype == "int32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": [1, 1, 1]}, "`targets` .* 4 histories. Received: 3 values"),
        ({"skip_targets": [0, 0, 0]}, "`skip_targets` .* 4 histories. Received: 3 values"),
        ({"excluded_items": [[3], [], [1]]}, "`excluded_items` .* 4 histories. Received: 3"),
        ({"targets": [1, 2, 0, 1], "skip_targets": [0] * 4}, "Received a target below 1: .* 2 has"),
        ({"skip_targets": [0, -1, 0, 0]}, "Received a target below 1: example 1 has targets=1"),
    ],
)
def test_arguments_that_do_not_fit(arguments, message):
    arrays = {"targets": np.ones(4, "int32"), "skip_targets": np.zeros(4, "int32")} | arguments
    with pytest.raises(ValueError, match=message):
        Examples(sessions(), **arrays)


def test_only_the_skipped_item_may_be_known():
    examples = Examples(sessions(), np.array([1, 0, 2, 0]), np.array([0, 3, 4, 1]))
    taken = examples.take([1, 0])
    assert taken.targets.tolist() == [0, 1] and taken.skip_targets.tolist() == [3, 0]
    assert taken.histories.keys.tolist() == ["v", "u"] and len(examples.take([])) == 0
    assert Examples(sessions(), np.array([1, 2, 3, 4])).skip_targets.tolist() == [0] * 4


def test_the_next_event_alone():
    examples = Examples.after(sessions(), np.array([1, 1, 1, 1]), target="next")
    # v's next event is unknown.
    assert found(examples) == [("u", [1], 0, 2), ("w", [9], 0, 1), ("x", [2], 3, 0)]
    with pytest.raises(ValueError, match="`target` must be one of 'next_positive', 'next'"):
        Examples.after(sessions(), np.array([1, 1, 1, 1]), target="previous")
    with pytest.raises(ValueError, match=r"`horizon` is not for target=.next.\. Received: 3"):
        Examples.after(sessions(), np.array([1, 1, 1, 1]), target="next", horizon=3)


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
            expected += found(Examples.after(rows.take([row]), np.array([cut]), target=target))
    assert found(examples) == expected and len(expected) > 2


def test_excluded_items():
    lists = [[3], [], [1, 2], [5]]
    examples = Examples(sessions(), np.array([1, 2, 3, 4]), excluded_items=lists).take([2, 1])
    assert rows_of(examples.excluded_items) == [[1, 2], []]
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


@settings(max_examples=30)
@given(rows_and_feedback(), st.data())
def test_after_against_a_loop(drawn, data):
    items, feedback = drawn
    cuts = [data.draw(st.integers(0, len(row))) for row in feedback]
    expected, of_horizon = [], []
    horizon = data.draw(st.integers(1, 5))
    for key, (row, marks, cut) in enumerate(zip(items, feedback, cuts, strict=True)):
        late = list(zip(row, marks, strict=True))[cut:]
        kept = [item for item, mark in late if mark > 0]
        skipped = [item for item, mark in late if mark < 0]
        if cut and kept:
            expected.append((key, row[:cut], kept[0], skipped[0] if skipped else 0))
        kept = [item for item, mark in late[:horizon] if mark > 0]
        skipped = [item for item, mark in late[:horizon] if mark < 0]
        for pair in zip_longest(kept, skipped, fillvalue=0) if cut else ():
            of_horizon.append((key, row[:cut], *pair))
    sessions = Sessions.from_lists(items, feedback)
    assert found(Examples.after(sessions, cuts)) == expected
    assert found(Examples.after(sessions, cuts, horizon=horizon)) == of_horizon


def test_fingerprint_stays_what_it_is():
    for dtype in ("int32", "int64"):  # and in every process: stored runs depend on it
        examples = Examples(sessions(), np.array([1, 2, 3, 1], dtype), np.array([0, 1, 0, 2]))
        assert examples.fingerprint().startswith("6b4ed1bf720cc2f6")


@pytest.mark.parametrize(
    "changed", ["item_ids", "feedback", "session_ids", "splits", "targets", "skip_targets"]
)
def test_fingerprint_tells_everything_apart(changed):
    arrays = {
        "item_ids": np.array([1, 2, 3]),
        "feedback": np.array([1, 1, -1]),
        "session_ids": np.array([0, 0, 1]),
        "splits": np.array([0, 1, 3]),
        "targets": np.array([1, 2]),
        "skip_targets": np.array([0, 2]),
    }

    def fingerprint(**changes):
        *columns, splits, targets, skips = (arrays | changes).values()
        columns = dict(zip(arrays, columns, strict=False))
        return Examples(Sessions(columns, splits, np.arange(2)), targets, skips).fingerprint()

    other = arrays[changed].copy()
    other[1] += -2 if changed == "feedback" else 1
    assert fingerprint(**{changed: other}) != fingerprint()
