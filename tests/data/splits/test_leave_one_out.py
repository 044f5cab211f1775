import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keras_negrec.data import leave_one_out
from keras_negrec.data.sessions import Sessions


def rows_of(sessions, name="item_ids"):
    return [row.tolist() for row in np.split(getattr(sessions, name), sessions.row_splits[1:-1])]


def triples(examples):
    """(history, target, skip target) of each example, by the key of its session."""
    histories = rows_of(examples.histories)
    values = zip(histories, examples.targets.tolist(), examples.skip_targets.tolist(), strict=False)
    return dict(zip(examples.histories.keys.tolist(), values, strict=False))


def test_all_positive_is_the_usual_leave_one_out():
    split = leave_one_out(Sessions.from_lists([[1, 2, 3, 4], [5, 6, 7]]))
    assert rows_of(split.train) == [[1, 2], [5]]
    assert triples(split.validation) == {0: ([1, 2], 3, 0), 1: ([5], 6, 0)}
    assert triples(split.test) == {0: ([1, 2, 3], 4, 0), 1: ([5, 6], 7, 0)}


def test_positives_are_numbered_from_the_newest():
    # Positives are 1, 3, 5, 7: training to 3, validation on 5, test on 7.
    sessions = Sessions.from_lists(
        [[1, 2, 3, 4, 5, 6, 7, 8]], [[1, -1, 1, -1, 2, -2, 1, -1]], keys=["u"]
    )
    split = leave_one_out(sessions)
    assert rows_of(split.train) == [[1, 2, 3]]
    assert rows_of(split.train, "feedback") == [[1, -1, 1]]
    assert triples(split.validation) == {"u": ([1, 2, 3], 5, 4)}
    assert triples(split.test) == {"u": ([1, 2, 3, 4, 5], 7, 6)}


def test_validation_does_not_see_beyond_its_target():
    # The only skip comes after the validation target: it belongs to the test example.
    split = leave_one_out(Sessions.from_lists([[1, 2, 3, 4]], [[1, 1, -1, 1]]))
    assert triples(split.validation) == {0: ([1], 2, 0)}
    assert triples(split.test) == {0: ([1, 2], 4, 3)}


def test_a_skip_after_the_last_positive_is_a_test_skip():
    split = leave_one_out(Sessions.from_lists([[1, 2, 3, 4]], [[1, 1, 1, -1]]))
    assert triples(split.test) == {0: ([1, 2], 3, 4)}


def test_unknown_feedback_is_neither():
    split = leave_one_out(Sessions.from_lists([[1, 2, 3, 4, 5]], [[1, 0, 1, 0, 1]]))
    assert rows_of(split.train) == [[1]]
    assert triples(split.validation) == {0: ([1], 3, 0)}
    assert triples(split.test) == {0: ([1, 2, 3], 5, 0)}


def test_sessions_with_fewer_than_three_positives_train_whole():
    sessions = Sessions.from_lists(
        [[1, 2, 3], [4, 5, 6], [7, 8], [9]],
        [[1, -1, 1], [1, 1, 1], [-1, -1], [2]],
        keys=["u", "v", "w", "x"],
    )
    split = leave_one_out(sessions)
    assert split.train.keys.tolist() == ["u", "v", "w", "x"]
    assert rows_of(split.train) == [[1, 2, 3], [4], [7, 8], [9]]
    assert triples(split.validation) == {"v": ([4], 5, 0)}
    assert triples(split.test) == {"v": ([4, 5], 6, 0)}


@pytest.mark.parametrize("rows", [[], [[1, 2]], [[1, 2], [3]]])
def test_no_session_with_three_positives(rows):
    with pytest.raises(ValueError, match=f"at least 3 positive .* Received: {len(rows)} sessions"):
        leave_one_out(Sessions.from_lists(rows))


@given(st.data())
def test_against_a_loop(data):
    feedback = data.draw(
        st.lists(st.lists(st.integers(-2, 2), min_size=1, max_size=12), min_size=1, max_size=5)
    )
    assume(any(sum(mark > 0 for mark in row) >= 3 for row in feedback))
    # Distinct items, so that each event is known by its item.
    items = [[100 * i + j + 1 for j in range(len(row))] for i, row in enumerate(feedback)]
    split = leave_one_out(Sessions.from_lists(items, feedback))

    train, validation, test = [], {}, {}
    for key, (row, marks) in enumerate(zip(items, feedback, strict=True)):
        positives = [position for position, mark in enumerate(marks) if mark > 0]
        if len(positives) < 3:
            train.append(row)
            continue
        third, second, last = positives[-3:]
        train.append(row[: third + 1])
        between = [row[p] for p in range(third + 1, second) if marks[p] < 0]
        validation[key] = (row[: third + 1], row[second], between[0] if between else 0)
        after = [row[p] for p in range(second + 1, len(row)) if marks[p] < 0]
        test[key] = (row[: second + 1], row[last], after[0] if after else 0)
    assert rows_of(split.train) == train
    assert triples(split.validation) == validation
    assert triples(split.test) == test

    # What is to be predicted was never seen: no event at or after the cut is in training.
    trained = set(split.train.item_ids.tolist())
    for examples in (split.validation, split.test):
        assert trained.isdisjoint(examples.targets.tolist())
        assert trained.isdisjoint(examples.skip_targets.tolist())
    for key, (history, _, _) in validation.items():
        assert trained.isdisjoint(items[key][len(history) :])


def test_the_benchmark_file(shared_data):
    from keras_negrec.data import read_sequences
    from keras_negrec.data.vocabulary import Vocabulary

    events = read_sequences(shared_data / "LastFM.txt")
    sessions = Sessions.from_events(events, Vocabulary.from_items(events["item"]))
    split = leave_one_out(sessions)
    assert len(split.validation) == len(split.test) == len(split.train) == 1_090
    assert split.train.num_events == 52_551 - 2 * 1_090
