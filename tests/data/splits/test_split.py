import numpy as np
import pytest

from keras_negrec.data import Examples, Sessions, Split, leave_one_out


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
