import numpy as np
import pandas as pd
import pytest

from keras_negrec.data import Examples, Sessions, Split, Vocabulary, leave_one_out


def test_before_test_holds_all_events_but_those_to_predict():
    sessions = Sessions.from_lists(
        [[1, 2, 3, 4, 5], [6, 7], [1, 2, 3]], [[1] * 5, [1, -1], [1] * 3]
    )
    split = leave_one_out(sessions)
    before = split.before_test()
    rows = {key: before.take([i]).item_ids.tolist() for i, key in enumerate(before.keys)}
    assert rows == {0: [1, 2, 3, 4], 1: [6, 7], 2: [1, 2]}


def test_concatenate_keeps_rows_and_session_ids():
    first = Sessions.from_lists([[1, 2], [3]], [[1, -1], [2]], [[0, 1], [0]], keys=["a", "b"])
    second = Sessions.from_lists([[4]], session_ids=[[0]], keys=["c"])
    both = Sessions.concatenate([first, second])
    assert both.keys.tolist() == ["a", "b", "c"]
    assert both.lengths.tolist() == [2, 1, 1]
    assert both.item_ids.tolist() == [1, 2, 3, 4]
    assert both.feedback.tolist() == [1, -1, 2, 1]
    assert both.session_ids.tolist() == [0, 1, 0, 0]
    assert np.array_equal(both.take([2]).item_ids, second.item_ids)


def test_concatenate_refuses_a_mixture():
    first = Sessions.from_lists([[1]], session_ids=[[0]])
    with pytest.raises(ValueError, match="same columns"):
        Sessions.concatenate([first, Sessions.from_lists([[1]])])
    with pytest.raises(ValueError, match="at least one"):
        Sessions.concatenate([])


def test_before_test_keeps_the_older_rows_of_a_key():
    train = Sessions.from_lists([[1, 2], [3], [4], [5]], keys=["a", "a", "b", "c"])
    histories = Sessions.from_lists([[3, 6], [5, 7]], keys=["a", "c"])
    examples = Examples(histories, np.array([8, 9], "int32"), np.zeros(2, "int32"))
    before = Split(train, examples, examples).before_test()
    rows = [before.take([row]).item_ids.tolist() for row in range(len(before))]
    assert rows == [[3, 6], [5, 7], [1, 2], [4]]


def tables():
    """Two users in all three tables, `c` in the last alone, and `d` who only trains."""

    def table(*events):
        return pd.DataFrame(events, columns=["session", "item", "feedback"])

    return (
        table(("a", 1, 1), ("b", 2, 1), ("a", 2, -1), ("d", 3, 1)),
        table(("b", 3, -1), ("a", 4, 1), ("b", 1, 1)),
        table(("a", 5, -1), ("c", 1, 1), ("c", 2, -1), ("b", 5, 1), ("c", 3, 1)),
    )


def found(examples):
    rows = [examples.histories.take([i]) for i in range(len(examples))]
    targets = zip(examples.targets.tolist(), examples.skip_targets.tolist(), strict=True)
    return [
        (row.keys[0], row.item_ids.tolist(), *of_row)
        for row, of_row in zip(rows, targets, strict=True)
    ]


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
    assert split.exclude_seen and split.validation.exclude_seen
    other = split.replace(exclude_seen=False)
    assert not (other.exclude_seen or other.validation.exclude_seen)
    assert other.train is split.train and split.exclude_seen
    vocabulary = Vocabulary([1, 2, 3, 4, 5])
    assert not Split.from_tables(*tables(), vocabulary, exclude_seen=False).exclude_seen
