import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_negrec.data.sessions import Sessions
from keras_negrec.data.vocabulary import Vocabulary


def rows_of(sessions, name="item_ids"):
    values = getattr(sessions, name)
    return [row.tolist() for row in np.split(values, sessions.row_splits[1:-1])]


@st.composite
def ragged(draw, min_rows=1):
    """Rows of distinct item ids (so that each event is known by its id), with feedback."""
    lengths = draw(st.lists(st.integers(1, 12), min_size=min_rows, max_size=6))
    ids = iter(range(1, sum(lengths) + 1))
    item_ids = [[next(ids) for _ in range(length)] for length in lengths]
    feedback = [draw(st.lists(st.integers(-2, 2), min_size=n, max_size=n)) for n in lengths]
    session_ids = [
        sorted(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))) for n in lengths
    ]
    return Sessions.from_lists(item_ids, feedback, session_ids)


# --- from_lists ---


def test_from_lists():
    sessions = Sessions.from_lists(
        [[3, 1, 2], [2]], [[1, -1, 2], [0]], [[0, 0, 1], [0]], keys=["ann", "bob"]
    )
    assert sessions.item_ids.tolist() == [3, 1, 2, 2]
    assert sessions.feedback.tolist() == [1, -1, 2, 0]
    assert sessions.session_ids.tolist() == [0, 0, 1, 0]
    assert sessions.row_splits.tolist() == [0, 3, 4]
    assert sessions.keys.tolist() == ["ann", "bob"]
    assert sessions.lengths.tolist() == [3, 1]
    assert sessions.positions().tolist() == [0, 1, 2, 0]
    assert sessions.rows().tolist() == [0, 0, 0, 1]
    assert (len(sessions), sessions.num_events) == (2, 4)
    assert sessions.item_ids.dtype == sessions.session_ids.dtype == "int32"
    assert sessions.feedback.dtype == "int8"
    assert sessions.row_splits.dtype == "int64"


def test_from_lists_without_feedback_is_all_positive():
    sessions = Sessions.from_lists([[3, 1], [2]])
    assert sessions.feedback.tolist() == [1, 1, 1]
    assert sessions.feedback.dtype == "int8"
    assert sessions.session_ids is None
    assert sessions.keys.tolist() == [0, 1]


def test_from_no_lists():
    sessions = Sessions.from_lists([])
    assert (len(sessions), sessions.num_events) == (0, 0)
    assert repr(sessions) == "<Sessions: 0 rows, 0 events, 0% negative>"
    assert sessions.padded(3)["item_ids"].shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[1], []],), ValueError, "at least one event. Row 1 is empty"),
        (([[1, 2]], [[1]]), ValueError, r"`feedback` .* row lengths .* \[2\]. Received: \[1\]"),
        (([[1], [2]], [[1]]), ValueError, r"`feedback` .*\[1, 1\]. Received: \[1\]"),
        (([[1, 2]], None, [[0]]), ValueError, r"`session_ids` .* Received: \[1\]"),
        (([[1, 2]], None, None, ["u", "v"]), ValueError, "`keys` .* 1 rows. Received: 2 values"),
        (([[1.5]],), TypeError, "must be integers. Received values of dtype float64"),
        (([["a"]],), TypeError, "must be integers"),
        (([[1, 2], [3, 0]],), ValueError, "start at 1 .* Received 0 in row 1, event 1"),
        (([[-4]],), ValueError, "start at 1 .* Received -4 in row 0, event 0"),
        (([[1, 2]], [[1, 3]]), ValueError, "Feedback must be .* Received 3 in row 0, event 1"),
        (([[1]], [[257]]), ValueError, "fit int8. Received: 257"),
        (([[1, 2**32 + 1]],), ValueError, "fit int32. Received: 4294967297"),
    ],
)
def test_from_lists_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        Sessions.from_lists(*arguments)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"feedback": np.ones(2, "int8")}, "`feedback` .* 3 events. Received: 2 values"),
        ({"session_ids": np.zeros(4, "int32")}, "`session_ids` .* Received: 4 values"),
        ({"keys": np.arange(3)}, "`keys` .* 2 rows. Received: 3 values"),
        ({"row_splits": np.array([0, 2, 4])}, "`row_splits` must rise from 0 to .* 3. Received"),
        ({"row_splits": np.array([1, 2, 3])}, "`row_splits` must rise"),
        ({"row_splits": np.array([0, 4, 3])}, "`row_splits` must rise"),
        ({"row_splits": np.array([], int)}, "`row_splits` must rise"),
        ({"item_ids": np.array([1, 2, 0])}, "Received 0 in row v, event 0"),
        ({"feedback": np.array([1, -3, 1])}, "Received -3 in row u, event 1"),
    ],
)
def test_arrays_that_do_not_fit(changed, message):
    arguments = {
        "item_ids": np.array([1, 2, 3], "int32"),
        "feedback": np.ones(3, "int8"),
        "row_splits": np.array([0, 2, 3]),
        "keys": np.array(["u", "v"]),
    }
    sessions_of(arguments)
    with pytest.raises(ValueError, match=message):
        sessions_of(arguments | changed)


def sessions_of(arguments):
    columns = {name: arguments[name] for name in arguments if name not in ("row_splits", "keys")}
    return Sessions(columns, arguments["row_splits"], arguments["keys"])


# --- from_events ---


VOCABULARY = Vocabulary(["a", "b", "c", "d", "e"])


def from_events(items, **columns):
    frame = pd.DataFrame({"item": list(items), "feedback": 1, **columns})
    return Sessions.from_events(frame, VOCABULARY)


def test_events_in_table_order_where_nothing_tells_another():
    sessions = from_events("abcde", session=["y", "x", "y", "x", "y"], feedback=[1, -1, 0, 2, -2])
    assert sessions.keys.tolist() == ["x", "y"]
    assert rows_of(sessions) == [[2, 4], [1, 3, 5]]
    assert rows_of(sessions, "feedback") == [[-1, 2], [1, 0, -2]]
    assert sessions.session_ids is None
    assert sessions.feedback.dtype == "int8"
    assert sessions.item_ids.dtype == "int32"


@pytest.mark.parametrize(
    "times",
    [
        [5, 9, 1, 3, 5],
        [0.5, 0.9, -0.1, 0.3, 0.5],
        pd.to_datetime([5, 9, 1, 3, 5], unit="s"),
        pd.to_datetime([5, 9, 1, 3, 5], unit="s", utc=True),
        pd.array([5, 9, 1, 3, 5], "Int64"),
    ],
    ids=["integers", "floats", "times", "times with a zone", "Int64"],
)
@pytest.mark.parametrize("column", ["position", "timestamp"])
def test_events_in_time_order_ties_in_table_order(column, times):
    sessions = from_events("abcde", session=[1, 2, 1, 2, 1], **{column: times})
    assert rows_of(sessions) == [[3, 1, 5], [4, 2]]


def test_position_goes_before_timestamp():
    columns = {"session": [1, 1, 1], "position": [2, 0, 1], "timestamp": [1, 2, 3]}
    assert rows_of(from_events("abc", **columns)) == [[2, 3, 1]]
    assert rows_of(from_events("abc", **columns, user=[7, 7, 7])) == [[2, 3, 1]]


def test_sessions_of_a_user_follow_each_other_by_their_first_event():
    sessions = from_events(
        "abcdea",
        user=["u", "v", "u", "u", "u", "u"],
        session=["s2", "s9", "s1", "s2", "s1", "s3"],
        timestamp=[50, 1, 10, 40, 20, 99],
    )
    assert sessions.keys.tolist() == ["u", "v"]
    assert rows_of(sessions) == [[3, 5, 4, 1, 1], [2]]
    assert rows_of(sessions, "session_ids") == [[0, 0, 1, 1, 2], [0]]
    assert sessions.session_ids.dtype == "int32"


def test_positions_that_restart_in_each_session():
    # Times order the sessions, positions the events; without times the table orders the sessions.
    columns = {"user": [1] * 4, "session": [6, 6, 5, 5], "position": [1, 0, 1, 0]}
    assert rows_of(from_events("abcd", **columns)) == [[2, 1, 4, 3]]
    assert rows_of(from_events("abcd", **columns, timestamp=[90, 90, 10, 10])) == [[4, 3, 2, 1]]


@settings(deadline=None)
@given(st.data())
def test_from_events_against_a_loop(data):
    num_events = data.draw(st.integers(1, 25))

    def column(low, high):
        return data.draw(st.lists(st.integers(low, high), min_size=num_events, max_size=num_events))

    events = pd.DataFrame(
        {
            "session": column(0, 3),
            "item": [str(n) for n in range(num_events)],
            "feedback": column(-2, 2),
            "user": column(0, 2),
            "timestamp": column(0, 9),
        }
    )
    vocabulary = Vocabulary([str(n) for n in range(num_events)])
    sessions = Sessions.from_events(events, vocabulary)

    expected_items, expected_ids = [], []
    for user in sorted(set(events["user"])):
        by_session: dict[int, list] = {}
        for event in events[events["user"] == user].itertuples():
            by_session.setdefault(event.session, []).append(event)
        # Sessions with the same first time: the one that occurs first in the whole table.
        seen = list(dict.fromkeys(events["session"]))
        ordered = sorted(
            by_session, key=lambda s: (min(e.timestamp for e in by_session[s]), seen.index(s))
        )
        row = [e for s in ordered for e in sorted(by_session[s], key=lambda e: e.timestamp)]
        expected_items.append([int(e.item) + 1 for e in row])
        expected_ids.append([ordered.index(e.session) for e in row])
    assert rows_of(sessions) == expected_items
    assert rows_of(sessions, "session_ids") == expected_ids


def test_from_events_refuses():
    frame = pd.DataFrame({"session": [1], "item": ["z"], "feedback": [1]})
    with pytest.raises(KeyError, match="not in the vocabulary, first: 'z'"):
        Sessions.from_events(frame, VOCABULARY)
    with pytest.raises(ValueError, match="column `feedback`, row 0"):
        Sessions.from_events(frame.assign(feedback=5), VOCABULARY)
    with pytest.raises(TypeError, match="holds strings"):
        Sessions.from_events(frame.assign(item=4), VOCABULARY)


# --- between, take, windows, padded ---


def three_rows():
    return Sessions.from_lists(
        [[1, 2, 3, 4], [5], [6, 7]],
        [[1, -1, 2, 0], [-2], [1, 1]],
        [[0, 0, 1, 2], [0], [0, 1]],
        keys=["u", "v", "w"],
    )


def test_between():
    cut = three_rows().between(1, 3)
    assert rows_of(cut) == [[2, 3], [], [7]]
    assert rows_of(cut, "feedback") == [[-1, 2], [], [1]]
    assert rows_of(cut, "session_ids") == [[0, 1], [], [1]]
    assert cut.keys.tolist() == ["u", "v", "w"]


def test_between_with_bounds_of_each_row():
    cut = three_rows().between(np.array([2, 0, 1]), np.array([4, 1, 1]))
    assert rows_of(cut) == [[3, 4], [5], []]


def test_between_of_chosen_rows_which_may_repeat():
    cut = three_rows().between(np.array([0, 1, 2]), np.array([1, 2, 9]), rows=[2, 0, 0])
    assert rows_of(cut) == [[6], [2], [3, 4]]
    assert cut.keys.tolist() == ["w", "u", "u"]


def test_between_keeps_to_the_row():
    assert rows_of(three_rows().between(-3, 99)) == [[1, 2, 3, 4], [5], [6, 7]]
    assert rows_of(three_rows().between(3, 1)) == [[], [], []]
    assert rows_of(three_rows().between(9, 12)) == [[], [], []]


@pytest.mark.parametrize(
    ("rows", "keys"),
    [
        ([2, 0], ["w", "u"]),
        (np.array([1, 1]), ["v", "v"]),
        ([], []),
        ([-1, -3], ["w", "u"]),
        (np.array([True, False, True]), ["u", "w"]),
    ],
)
def test_take(rows, keys):
    taken = three_rows().take(rows)
    assert taken.keys.tolist() == keys
    whole = dict(zip("uvw", rows_of(three_rows()), strict=True))
    assert taken.item_ids.tolist() == [item for key in keys for item in whole[key]]
    assert taken.lengths.tolist() == [len(whole[key]) for key in keys]


def test_windows_are_counted_from_the_newest_event():
    sessions = Sessions.from_lists([[1, 2, 3, 4, 5], [6, 7]], keys=["u", "v"])
    windows = sessions.windows(2)
    assert rows_of(windows) == [[4, 5], [2, 3], [1], [6, 7]]
    assert windows.keys.tolist() == ["u", "u", "u", "v"]


def test_windows_with_overlap():
    sessions = Sessions.from_lists([[1, 2, 3, 4, 5, 6, 7]])
    assert rows_of(sessions.windows(4, overlap=1)) == [[4, 5, 6, 7], [1, 2, 3, 4]]
    assert rows_of(sessions.windows(4, overlap=2)) == [[4, 5, 6, 7], [2, 3, 4, 5], [1, 2, 3]]


@given(ragged(), st.integers(1, 8), st.data())
def test_windows_lose_no_event(sessions, length, data):
    overlap = data.draw(st.integers(0, length - 1))
    windows = sessions.windows(length, overlap=overlap)
    feedback = dict(zip(sessions.item_ids, sessions.feedback, strict=True))
    rebuilt = {key: [] for key in sessions.keys}
    for key, items in reversed(list(zip(windows.keys, rows_of(windows), strict=True))):
        assert 1 <= len(items) <= length
        # Each window begins with the last `overlap` events of the one before it.
        repeated = min(overlap, len(rebuilt[key]))
        assert rebuilt[key][len(rebuilt[key]) - repeated :] == items[:repeated]
        assert len(items) > repeated
        rebuilt[key] += items[repeated:]
    assert list(rebuilt.values()) == rows_of(sessions)
    assert windows.feedback.tolist() == [feedback[item] for item in windows.item_ids]
    newest = np.unique(windows.keys, return_index=True)[1]
    expected = np.minimum(sessions.lengths, length)
    assert windows.lengths[newest].tolist() == expected.tolist()


@pytest.mark.parametrize(("length", "overlap"), [(0, 0), (3, 3), (3, -1)])
def test_windows_that_cannot_be(length, overlap):
    with pytest.raises(ValueError, match=f"Received: overlap={overlap}, length={length}"):
        three_rows().windows(length, overlap=overlap)


def test_padded_is_left_padded():
    batch = three_rows().padded(3)
    assert batch["item_ids"].tolist() == [[2, 3, 4], [0, 0, 5], [0, 6, 7]]
    assert batch["feedback"].tolist() == [[-1, 2, 0], [0, 0, -2], [0, 1, 1]]
    assert batch["session_ids"].tolist() == [[0, 1, 2], [0, 0, 0], [0, 0, 1]]
    assert all(values.dtype == "int32" for values in batch.values())


@given(ragged(), st.integers(1, 15))
def test_padded_holds_the_newest_events_in_the_last_columns(sessions, length):
    batch = sessions.padded(length)
    for name in ("item_ids", "feedback", "session_ids"):
        for padded, row in zip(batch[name].tolist(), rows_of(sessions, name), strict=True):
            newest = row[-length:]
            assert padded == [0] * (length - len(newest)) + newest
