import numpy as np
import pandas as pd
import pytest

from keras_negrec.data.logs.check_events import check_events


def events(**columns):
    frame = pd.DataFrame(
        {"session": ["s", "s", "t"], "item": ["a", "b", "a"], "feedback": [1, -2, 0]},
        index=[10, 20, 30],
    )
    return frame.assign(**columns)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"user": [1, 1, 2], "position": [0, 1, 0], "timestamp": [5.5, 6.0, 7.0]},
        {"timestamp": pd.to_datetime([3, 2, 1], unit="s")},
        {"timestamp": pd.to_datetime([3, 2, 1], unit="s", utc=True)},
        {"item": [1, 2, 1]},
        {"item": pd.array([1, 2, 1], "Int64")},
        {"item": np.array([1, 2, 1], "uint32")},
        {"item": pd.Categorical([1, 2, 1])},
        {"item": pd.Categorical(["a", "b", "a"])},
        {"item": pd.array(["a", "b", "a"], "string")},
        {"feedback": np.array([1, -2, 0], "int8")},
        {"feedback": pd.array([1, -2, 0], "Int8")},
        {"split": ["train", None, "test"]},
    ],
)
def test_good_events_pass(columns):
    assert check_events(events(**columns)) is None


def test_no_events():
    with pytest.raises(TypeError, match=r"pandas DataFrame. Received: dict"):
        check_events({"session": [1]})
    with pytest.raises(ValueError, match=r"In plays.csv: there are no events"):
        check_events(events().iloc[:0], source="plays.csv")
    for column in ("session", "item", "feedback"):
        with pytest.raises(ValueError, match=f"column `{column}` is missing. Received columns: "):
            check_events(events().drop(columns=column))


@pytest.mark.parametrize("column", ["session", "user", "item", "feedback", "position", "timestamp"])
def test_missing_value_is_named_by_its_row(column):
    frame = events(user=1, position=[0, 1, 2], timestamp=[0, 1, 2]).astype({column: object})
    frame.loc[[20, 30], column] = None
    message = rf"In plays.csv, column `{column}`, row 20: expected a value"
    with pytest.raises(ValueError, match=message):
        check_events(frame, source="plays.csv")


@pytest.mark.parametrize(
    ("items", "row", "received"),
    [
        (["a", 2, "a"], 20, "2"),
        ([1.0, 2.0, 1.0], 10, "1.0"),
        (["a", "b", b"c"], 30, "b'c'"),
        ([True, False, True], 10, "True"),
    ],
)
def test_items_must_be_strings_or_integers(items, row, received):
    with pytest.raises(
        TypeError, match=f"column `item`, row {row}: .* all strings or all integers.*{received}"
    ):
        check_events(events(item=items))


@pytest.mark.parametrize("column", ["position", "timestamp"])
def test_order_is_by_numbers_or_times(column):
    with pytest.raises(TypeError, match=f"column `{column}`.*: expected numbers or times.*'1'"):
        check_events(events(**{column: ["1", "2", "3"]}))


@pytest.mark.parametrize("feedback", [[1.0, -1.0, 0.0], [True, False, True], ["1", "1", "1"]])
def test_feedback_must_be_integers(feedback):
    with pytest.raises(TypeError, match="column `feedback`, row 10: expected integers"):
        check_events(events(feedback=feedback))
    for wrong in (3, -3, 100):
        message = f"column `feedback`, row 20: .* Received: {wrong}$"
        with pytest.raises(ValueError, match=message):
            check_events(events(feedback=[1, wrong, 9]))
