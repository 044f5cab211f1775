import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ragged_rows import rows_and_feedback, rows_of

from keras_negrec.data import Split
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.vocabulary import Vocabulary


@st.composite
def ragged(draw):
    item_ids, feedback = draw(rows_and_feedback())
    ids, lengths = st.integers(0, 3), map(len, feedback)
    session_ids = [sorted(draw(st.lists(ids, min_size=n, max_size=n))) for n in lengths]
    return Sessions.from_lists(item_ids, feedback, session_ids)


def test_from_lists():
    sessions = Sessions.from_lists(
        [[3, 1, 2], [2]], [[1, -1, 2], [0]], [[0, 0, 1], [0]], keys=["ann", "bob"]
    )
    assert rows_of(sessions) == [[3, 1, 2], [2]]
    assert rows_of(sessions, "feedback") == [[1, -1, 2], [0]]
    assert rows_of(sessions, "session_ids") == [[0, 0, 1], [0]]
    assert sessions.keys.tolist() == ["ann", "bob"] and sessions.lengths.tolist() == [3, 1]
    assert sessions.positions().tolist() == [0, 1, 2, 0]
    assert sessions.rows().tolist() == [0, 0, 0, 1]
    assert (len(sessions), sessions.num_events) == (2, 4)
    assert [values.dtype for values in sessions.columns.values()] == ["int32", "int8", "int32"]


def test_from_lists_without_feedback_is_all_positive():
    sessions = Sessions.from_lists([[3, 1], [2]])
    assert sessions.feedback.tolist() == [1, 1, 1] and sessions.feedback.dtype == "int8"
    assert sessions.session_ids is None and sessions.keys.tolist() == [0, 1]
    none = Sessions.from_lists([])
    assert repr(none) == "<Sessions: 0 rows, 0 events, 0% negative>"
    assert none.padded(3)["item_ids"].shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[1], []],), ValueError, "at least one event. Row 1 is empty"),
        (([[1, 2]], [[1]]), ValueError, r"`feedback` .* row lengths .* \[2\]. Received: \[1\]"),
        (([[1, 2]], None, [[0]]), ValueError, r"`session_ids` .* Received: \[1\]"),
        (([[1.5]],), TypeError, "must be integers. Received values of dtype float64"),
        (([["a"]],), TypeError, "must be integers"),
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
    columns = {"item_ids": np.array([1, 2, 3], "int32"), "feedback": np.ones(3, "int8")}
    others = {"row_splits": np.array([0, 2, 3]), "keys": np.array(["u", "v"])}
    Sessions(columns, **others)
    for name, values in changed.items():
        (others if name in others else columns)[name] = values
    with pytest.raises(ValueError, match=message):
        Sessions(columns, **others)


VOCABULARY = Vocabulary(["a", "b", "c", "d", "e"])


def from_events(items, **columns):
    frame = pd.DataFrame({"item": list(items), "feedback": 1, **columns})
    return Sessions.from_events(frame, VOCABULARY)


def test_events_in_table_order_where_nothing_tells_another():
    sessions = from_events("abcde", session=["y", "x", "y", "x", "y"], feedback=[1, -1, 0, 2, -2])
    assert sessions.keys.tolist() == ["x", "y"] and sessions.session_ids is None
    assert rows_of(sessions) == [[2, 4], [1, 3, 5]]
    assert rows_of(sessions, "feedback") == [[-1, 2], [1, 0, -2]]


@pytest.mark.parametrize(
    "times",
    [
        [0.5, 0.9, -0.1, 0.3, 0.5],
        pd.to_datetime([5, 9, 1, 3, 5], unit="s"),
        pd.to_datetime([5, 9, 1, 3, 5], unit="s", utc=True),
        pd.array([5, 9, 1, 3, 5], "Int64"),
    ],
)
def test_events_in_time_order_ties_in_table_order(times):
    for column in ("position", "timestamp"):
        sessions = from_events("abcde", session=[1, 2, 1, 2, 1], **{column: times})
        assert rows_of(sessions) == [[3, 1, 5], [4, 2]]


def test_position_goes_before_timestamp_and_restarts_in_each_session():
    columns = {"session": [1, 1, 1], "position": [2, 0, 1], "timestamp": [1, 2, 3]}
    assert rows_of(from_events("abc", **columns)) == [[2, 3, 1]]
    assert rows_of(from_events("abc", **columns, user=[7, 7, 7])) == [[2, 3, 1]]
    # Times order the sessions, positions the events; without times the table orders the sessions.
    columns = {"user": [1] * 4, "session": [6, 6, 5, 5], "position": [1, 0, 1, 0]}
    assert rows_of(from_events("abcd", **columns)) == [[2, 1, 4, 3]]
    assert rows_of(from_events("abcd", **columns, timestamp=[90, 90, 10, 10])) == [[4, 3, 2, 1]]


@settings(max_examples=30)
@given(st.data())
def test_from_events_against_a_loop(data):
    num_events = data.draw(st.integers(1, 25))
    ranges = {"session": (0, 3), "feedback": (-2, 2), "user": (0, 2), "timestamp": (0, 9)}
    events = pd.DataFrame({"item": range(1, num_events + 1)})
    for name, limits in ranges.items():
        column = st.lists(st.integers(*limits), min_size=num_events, max_size=num_events)
        events[name] = data.draw(column)
    sessions = Sessions.from_events(events, Vocabulary(events["item"]))

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
        expected_items.append([e.item for e in row])
        expected_ids.append([ordered.index(e.session) for e in row])
    assert sessions.keys.tolist() == sorted(set(events["user"]))
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


@given(ragged(), st.data())
def test_between_against_a_loop(sessions, data):
    # Rows may repeat, and bounds may lie outside of the row.
    row, bound = st.integers(0, len(sessions) - 1), st.integers(-3, 15)
    cuts = data.draw(st.lists(st.tuples(row, bound, bound), min_size=1, max_size=8))
    rows, starts, ends = np.array(cuts).T
    cut = sessions.between(starts, ends, rows)
    for name in ("item_ids", "feedback", "session_ids"):
        of_rows = rows_of(sessions, name)
        assert rows_of(cut, name) == [of_rows[r][max(0, s) : max(0, e)] for r, s, e in cuts]
    assert cut.keys.tolist() == rows.tolist()
    assert rows_of(sessions.between(1, 3)) == [row[1:3] for row in rows_of(sessions)]


@pytest.mark.parametrize(
    ("rows", "keys"),
    [([2, 0], "wu"), ([], ""), ([-1, -3], "wu"), (np.array([True, False, True]), "uw")],
)
def test_take(rows, keys):
    lists = {"u": [1, 2, 3, 4], "v": [5], "w": [6, 7]}
    taken = Sessions.from_lists(lists.values(), keys=list(lists)).take(rows)
    assert taken.keys.tolist() == list(keys)
    assert taken.item_ids.tolist() == [item for key in keys for item in lists[key]]


def test_windows_are_counted_from_the_newest_event():
    sessions = Sessions.from_lists([[1, 2, 3, 4, 5, 6, 7], [8, 9]], keys=["u", "v"])
    windows = sessions.windows(4, overlap=2)
    assert rows_of(windows) == [[4, 5, 6, 7], [2, 3, 4, 5], [1, 2, 3], [8, 9]]
    assert windows.keys.tolist() == ["u", "u", "u", "v"]


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
        Sessions.from_lists([[1, 2]]).windows(length, overlap=overlap)


@given(ragged(), st.integers(1, 15))
def test_padded_holds_the_newest_events_in_the_last_columns(sessions, length):
    batch = sessions.padded(length)
    for name in ("item_ids", "feedback", "session_ids"):
        assert batch[name].dtype == "int32"
        for padded, row in zip(batch[name].tolist(), rows_of(sessions, name), strict=True):
            newest = row[-length:]
            assert padded == [0] * (length - len(newest)) + newest


def test_concatenate():
    first = Sessions.from_lists([[1, 2], [3]], [[1, -1], [2]], [[0, 1], [0]], keys=["a", "b"])
    second = Sessions.from_lists([[4]], session_ids=[[0]], keys=["c"])
    both = Sessions.concatenate([first, second])
    assert both.keys.tolist() == ["a", "b", "c"] and both.lengths.tolist() == [2, 1, 1]
    for name in both.columns:
        assert rows_of(both, name) == [*rows_of(first, name), *rows_of(second, name)]
    with pytest.raises(ValueError, match="same columns"):
        Sessions.concatenate([first, Sessions.from_lists([[1]])])
    with pytest.raises(ValueError, match="at least one"):
        Sessions.concatenate([])


@pytest.mark.parametrize(
    "times",
    [
        [10**9, 10**9 + 60, 10**9 + 61.5],
        [10**12, 10**12 + 60_000, 10**12 + 61_500],
        np.array([10**18, 10**18 + 60 * 10**9, 10**18 + 61.5e9]),
        pd.to_datetime([10**9, 10**9 + 60, 10**9 + 61.5], unit="s"),
        pd.to_datetime([10**9, 10**9 + 60, 10**9 + 61.5], unit="s", utc=True).tz_convert(
            "Asia/Tokyo"
        ),
    ],
    ids=["seconds", "milliseconds", "nanoseconds", "datetimes", "with a zone"],
)
def test_times_are_seconds_and_requests_come_with_the_next_event(times):
    events = pd.DataFrame({"session": [1, 1, 1], "item": list("aba"), "feedback": 1})
    events["timestamp"] = times
    sessions = Sessions.from_events(events, Vocabulary(["a", "b"]))
    expected = [10**9, 10**9 + 60, 10**9 + 61.5]
    assert sessions.columns["timestamps"].tolist() == expected
    assert sessions.columns["request_timestamps"].tolist() == [*expected[1:], expected[2]]
    history = sessions.between(0, 2)
    assert history.columns["request_timestamps"].tolist() == expected[1:]
    batch = history.padded(3)
    assert batch["timestamps"].tolist() == [[0, 10**9, 10**9 + 60]]
    assert batch["timestamps"].dtype == "int32"


@pytest.mark.parametrize("times", [[1, np.nan], [1, 10**12], [2**31, 5], [10.0**21, 10.0**21]])
def test_times_that_are_no_seconds(times):
    with pytest.raises(ValueError, match="Timestamps must be seconds since 1970, or all be milli"):
        Sessions.from_lists([[1], [2]], timestamps=[[times[0]], [times[1]]])


def test_rows_of_two_logs_know_when_the_later_one_begins():
    events = pd.DataFrame({"session": 1, "item": list("abab"), "feedback": 1})
    events["timestamp"] = [10, 20, 50, 90]
    split = Split.from_tables(events[:2], events[2:3], events[3:], Vocabulary(["a", "b"]))
    assert split.test.histories.columns["request_timestamps"].tolist() == [20, 50, 90]
