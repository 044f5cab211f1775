import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ragged_rows import found, rows_and_feedback, rows_of

from keras_negrec.data import (
    Examples,
    Sessions,
    Split,
    Vocabulary,
    leave_one_out,
    read_sequences,
    split_at,
)


def test_positives_are_numbered_from_the_newest():
    # Positives are 1, 3, 5, 7: training to 3, validation on 5, test on 7.
    feedback = [1, -1, 1, -1, 2, -2, 1, -1]
    split = leave_one_out(Sessions.from_lists([[1, 2, 3, 4, 5, 6, 7, 8]], [feedback], keys=["u"]))
    assert rows_of(split.train) == [[1, 2, 3]]
    assert rows_of(split.train, "feedback") == [[1, -1, 1]]
    assert found(split.validation) == [("u", [1, 2, 3], 5, 4)]
    assert found(split.test) == [("u", [1, 2, 3, 4, 5], 7, 6)]


@pytest.mark.parametrize(
    ("feedback", "validation", "test"),
    [
        ([1, 1, 1, 1], ([1, 2], 3, 0), ([1, 2, 3], 4, 0)),  # the usual leave-one-out
        ([1, 1, -1, 1], ([1], 2, 0), ([1, 2], 4, 3)),  # validation sees no skip after its target
        ([1, 1, 1, -1], ([1], 2, 0), ([1, 2], 3, 4)),
        ([1, 0, 1, 1], ([1], 3, 0), ([1, 2, 3], 4, 0)),  # unknown feedback is neither
    ],
)
def test_leave_one_out(feedback, validation, test):
    rows = [[1, 2, 3, 4], [5, 6, 7]]  # too few are positive in the other row, which trains whole
    split = leave_one_out(Sessions.from_lists(rows, [feedback, [1, -1, 1]]))
    assert rows_of(split.train) == [validation[0], [5, 6, 7]]
    assert found(split.validation) == [(0, *validation)] and found(split.test) == [(0, *test)]


@pytest.mark.parametrize("rows", [[], [[1, 2], [3]]])
def test_no_session_with_three_positives(rows):
    with pytest.raises(ValueError, match=f"at least 3 positive .* Received: {len(rows)} sessions"):
        leave_one_out(Sessions.from_lists(rows))


@given(rows_and_feedback())
def test_leave_one_out_against_a_loop(drawn):
    items, feedback = drawn
    assume(any(sum(mark > 0 for mark in row) >= 3 for row in feedback))
    split = leave_one_out(Sessions.from_lists(items, feedback))

    train, validation, test = [], [], []
    for key, (row, marks) in enumerate(zip(items, feedback, strict=True)):
        positives = [position for position, mark in enumerate(marks) if mark > 0]
        if len(positives) < 3:
            train.append(row)
            continue
        third, second, last = positives[-3:]
        train.append(row[: third + 1])
        between = [row[p] for p in range(third + 1, second) if marks[p] < 0]
        validation.append((key, row[: third + 1], row[second], between[0] if between else 0))
        after = [row[p] for p in range(second + 1, len(row)) if marks[p] < 0]
        test.append((key, row[: second + 1], row[last], after[0] if after else 0))
    assert rows_of(split.train) == train
    assert found(split.validation) == validation
    assert found(split.test) == test

    # What is to be predicted was never seen: no event at or after the cut is in training.
    trained = set(split.train.item_ids.tolist())
    for examples in (split.validation, split.test):
        assert trained.isdisjoint(examples.targets.tolist())
        assert trained.isdisjoint(examples.skip_targets.tolist())
    for key, history, _, _ in validation:
        assert trained.isdisjoint(items[key][len(history) :])


def test_the_benchmark_file(shared_data):
    events = read_sequences(shared_data / "LastFM.txt")
    sessions = Sessions.from_events(events, Vocabulary.from_items(events["item"]))
    split = leave_one_out(sessions)
    assert len(split.validation) == len(split.test) == len(split.train) == 1_090
    assert split.train.num_events == 52_551 - 2 * 1_090


def twenty_rows():
    return Sessions.from_lists([[3 * i + 1, 3 * i + 2, 3 * i + 3] for i in range(20)])


def test_trains_before_the_cut_and_predicts_after_it():
    sessions = Sessions.from_lists(
        [[1, 2, 3, 4], [5, 6], [7, 8], [9, 10]],
        [[1, -1, -1, 1], [1, 1], [1, -1], [1, 1]],
        keys=["u", "v", "w", "x"],
    )
    split = split_at(sessions, [2, 1, 1, 0], validation_share=0)
    # `w` keeps nothing after its cut and trains only; `x` has no history and takes no part.
    assert split.train.keys.tolist() == ["u", "v", "w"]
    assert rows_of(split.train) == [[1, 2], [5], [7]]
    assert found(split.test) == [("u", [1, 2], 4, 3), ("v", [5], 6, 0)]
    assert len(split.validation) == 0


@pytest.mark.parametrize(("share", "expected"), [(0, 0), (0.1, 2), (0.5, 10), (1, 20)])
def test_every_row_is_in_one_part(share, expected):
    split = split_at(twenty_rows(), np.full(20, 2), validation_share=share)
    validation = split.validation.histories.keys.tolist()
    test = split.test.histories.keys.tolist()
    assert len(validation) == expected and len(split.train) == 20
    assert sorted(validation + test) == list(range(20))
    assert validation == sorted(validation) and test == sorted(test)


def test_the_seed_draws_the_validation_rows():
    def drawn(seed):
        split = split_at(twenty_rows(), np.full(20, 1), validation_share=0.3, seed=seed)
        return tuple(split.validation.histories.keys.tolist())

    assert drawn(0) == drawn(0) and len({drawn(seed) for seed in range(5)}) > 1


@settings(max_examples=30)
@given(rows_and_feedback(), st.floats(0, 1), st.data())
def test_no_event_at_or_after_the_cut_is_in_training(drawn, share, data):
    items, feedback = drawn
    cuts = [data.draw(st.integers(0, len(row))) for row in feedback]
    sessions = Sessions.from_lists(items, feedback)
    split = split_at(sessions, cuts, validation_share=share)
    before = [item for row, cut in zip(items, cuts, strict=True) for item in row[:cut]]
    assert split.train.item_ids.tolist() == before
    assert (split.train.lengths > 0).all()
    targets = [*split.validation.targets.tolist(), *split.test.targets.tolist()]
    assert sorted(targets) == sorted(Examples.after(sessions, cuts).targets.tolist())
    assert set(before).isdisjoint(targets)


def test_summary():
    sessions = Sessions.from_lists([[1, 2, 3], [4, 5, 6]], [[1, 1, -1], [1, 1, 1]])
    assert split_at(sessions, [1, 1], validation_share=0).summary() == (
        "train: 2 sessions, 2 events; validation: 0 examples, 0 with a skip; "
        "test: 2 examples, 1 with a skip"
    )


@pytest.mark.parametrize(
    ("cuts", "share", "message"),
    [
        ([1], 0.1, r"must have shape \(20,\), one value a row. Received: \(1,\)"),
        ([[1] * 20], 0.1, r"Received: \(1, 20\)"),
        ([1] * 19 + [4], 0.1, "between 0 and the row's length, 3 in row 19. Received: 4"),
        ([1, -1] + [1] * 18, 0.1, "3 in row 1. Received: -1"),
        ([1] * 20, 1.5, "between 0 and 1. Received: 1.5"),
        ([1] * 20, float("nan"), "between 0 and 1. Received: nan"),
    ],
)
def test_cuts_and_shares_that_do_not_fit(cuts, share, message):
    with pytest.raises(ValueError, match=message):
        split_at(twenty_rows(), cuts, validation_share=share)


def test_before_test_holds_all_events_but_those_to_predict():
    feedback = [[1] * 5, [1, -1], [1] * 3]
    split = leave_one_out(Sessions.from_lists([[1, 2, 3, 4, 5], [6, 7], [1, 2, 3]], feedback))
    before = split.before_test()
    assert sorted(before.keys) == [0, 1, 2]
    assert rows_of(before.take(np.argsort(before.keys))) == [[1, 2, 3, 4], [6, 7], [1, 2]]


def test_before_test_keeps_the_older_rows_of_a_key():
    train = Sessions.from_lists([[1, 2], [3], [4], [5]], keys=["a", "a", "b", "c"])
    histories = Sessions.from_lists([[3, 6], [5, 7]], keys=["a", "c"])
    examples = Examples(histories, np.array([8, 9], "int32"), np.zeros(2, "int32"))
    before = Split(train, examples, examples).before_test()
    assert rows_of(before) == [[3, 6], [5, 7], [1, 2], [4]]


def tables():
    """Two users in all three tables, `c` in the last alone, and `d` who only trains."""

    def table(*events):
        return pd.DataFrame(events, columns=["session", "item", "feedback"])

    return (
        table(("a", 1, 1), ("b", 2, 1), ("a", 2, -1), ("d", 3, 1)),
        table(("b", 3, -1), ("a", 4, 1), ("b", 1, 1)),
        table(("a", 5, -1), ("c", 1, 1), ("c", 2, -1), ("b", 5, 1), ("c", 3, 1)),
    )


@pytest.mark.parametrize(
    ("arguments", "validation", "test"),
    [
        ({}, [("a", [1, 2], 4, 0), ("b", [2], 1, 3)], [("b", [2, 3, 1], 5, 0)]),
        (
            {"target": "next"},
            [("a", [1, 2], 4, 0), ("b", [2], 0, 3)],
            [("a", [1, 2, 4], 0, 5), ("b", [2, 3, 1], 5, 0)],
        ),
        (
            {"predict": "last", "target": "next"},
            [("a", [1, 2], 4, 0), ("b", [2, 3], 1, 0)],
            [("a", [1, 2, 4], 0, 5), ("b", [2, 3, 1], 5, 0), ("c", [1, 2], 3, 0)],
        ),
        (
            {"predict": "every"},
            [("a", [1, 2], 4, 0), ("b", [2], 1, 3), ("b", [2, 3], 1, 0)],
            [("b", [2, 3, 1], 5, 0), ("c", [1], 3, 2), ("c", [1, 2], 3, 0)],
        ),
    ],
)
def test_from_tables(arguments, validation, test):
    split = Split.from_tables(*tables(), Vocabulary([1, 2, 3, 4, 5]), **arguments)
    assert split.train.keys.tolist() == ["a", "b", "d"]
    assert split.train.item_ids.tolist() == [1, 2, 2, 3]
    assert found(split.validation) == validation
    assert found(split.test) == test
    before = split.before_test()
    assert sorted(before.keys) == sorted({"a", "b", "d"} | {key for key, *_ in test})


def test_from_tables_counts_the_sessions_of_a_user_on():
    parts = [
        pd.DataFrame({"user": "u", "session": sessions, "item": [1] * 2, "feedback": [1] * 2})
        for sessions in ([7, 8], [9, 9], [3, 4])
    ]
    split = Split.from_tables(*parts, Vocabulary([1]), predict="last")
    assert split.test.histories.session_ids.tolist() == [0, 1, 2, 2, 3]


def test_from_tables_says_how_to_leave_out_unknown_items():
    train, validation, test = tables()
    with pytest.raises(ValueError, match=r"1 events .* first with 4.* validation\[validation\["):
        Split.from_tables(train, validation, test, Vocabulary([1, 2, 3, 5]))


def test_exclude_seen_is_set_once():
    split = leave_one_out(Sessions.from_lists([[1, 2, 3, 4]]))
    assert split.test.exclude_seen is split.validation.exclude_seen is None
    other = split.replace(exclude_seen=False)
    assert other.test.exclude_seen is other.validation.exclude_seen is False
    assert other.train is split.train and split.test.exclude_seen is None
    vocabulary = Vocabulary([1, 2, 3, 4, 5])
    assert not Split.from_tables(*tables(), vocabulary, exclude_seen=False).test.exclude_seen
