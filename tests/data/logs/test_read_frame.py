import numpy as np
import pandas as pd
import pytest

from keras_negrec.data.logs.read_frame import read_frame


def plays(**columns):
    frame = pd.DataFrame(
        {
            "visit": ["v1", "v1", "v2", "v3"],
            "track": [10, 11, 10, 12],
            "verdict": [1, -2, 0, 2],
            "listener": ["ann", "ann", "ann", "bob"],
            "nth": [1, 2, 1, 1],
            "at": pd.to_datetime([100, 130, 900, 50], unit="s"),
            "played": [0.9, 0.1, 1.0, 0.3],
        },
        index=[7, 7, 3, 0],
    )
    return frame.assign(**columns)


ALL = {"user": "listener", "position": "nth", "timestamp": "at"}


def expected_events():
    return pd.DataFrame(
        {
            "session": ["v1", "v1", "v2", "v3"],
            "item": [10, 11, 10, 12],
            "feedback": np.array([1, -2, 0, 2], "int8"),
            "user": ["ann", "ann", "ann", "bob"],
            "position": [1, 2, 1, 1],
            "timestamp": pd.to_datetime([100, 130, 900, 50], unit="s"),
        }
    )


def test_columns_by_name():
    events = read_frame(plays(), session="visit", item="track", feedback="verdict", **ALL)
    pd.testing.assert_frame_equal(events, expected_events(), check_dtype=False)
    assert events["feedback"].dtype == "int8"


def test_without_feedback_every_event_is_positive():
    events = read_frame(plays(), session="visit", item="track")
    assert list(events.columns) == ["session", "item", "feedback"]
    assert events["feedback"].tolist() == [1, 1, 1, 1]
    assert events.index.tolist() == [0, 1, 2, 3]


def test_a_column_of_that_name_is_the_feedback(tmp_path):
    frame = plays().rename(columns={"verdict": "feedback"})
    frame.to_csv(tmp_path / "plays.csv", index=False)
    for source in (frame, tmp_path / "plays.csv"):
        events = read_frame(source, session="visit", item="track")
        assert events["feedback"].tolist() == expected_events()["feedback"].tolist()


@pytest.mark.parametrize("name", ["plays.csv", "plays.csv.gz", "plays.parquet"])
def test_files(tmp_path, name):
    path = tmp_path / name
    plays().to_parquet(path) if name.endswith("t") else plays().to_csv(path, index=False)
    for source in (path, str(path)):
        events = read_frame(source, session="visit", item="track", feedback="verdict", **ALL)
        pd.testing.assert_frame_equal(events, expected_events(), check_dtype=False)


def test_feedback_by_a_function():
    def judge(frame):
        assert list(frame.columns) == list(plays().columns)
        return np.where(frame["played"] < 0.5, -1, 1)

    events = read_frame(plays(), session="visit", item="track", feedback=judge)
    assert events["feedback"].tolist() == [1, -1, 1, -1]


def test_function_sees_the_ids_that_the_events_have(tmp_path):
    path = tmp_path / "plays.csv"
    path.write_text("visit,track\n1,10\n1,11\n")
    events = read_frame(
        path, session="visit", item="track", feedback=lambda frame: 2 * (frame["track"] % 2) - 1
    )
    assert events["feedback"].tolist() == [-1, 1]


def test_the_input_is_not_changed():
    frame = plays()
    read_frame(frame, session="visit", item="track", feedback="verdict", **ALL)
    pd.testing.assert_frame_equal(frame, plays())


@pytest.mark.parametrize(
    "values",
    [
        [1.0, -2.0, 0.0, 2.0],
        pd.array([1, -2, 0, 2], "Int8"),
        pd.Series([1, -2, 0, 2], dtype=object),
        pd.Categorical([1, -2, 0, 2]),
        np.array([1, -2, 0, 2], "float32"),
    ],
    ids=["float", "Int8", "object", "category", "float32"],
)
def test_whole_numbers_of_any_type_are_feedback(values):
    frame = plays().reset_index(drop=True).assign(verdict=values)
    events = read_frame(frame, session="visit", item="track", feedback="verdict")
    assert events["feedback"].tolist() == [1, -2, 0, 2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, -1, 0.5, 1], "row 3: feedback must be -2, -1, 0, 1 or 2. Received: 0.5"),
        ([1, -3, 0, 1], "row 7: feedback must be .* Received: -3"),
        ([1, None, 0, 1], "row 7: expected a value. Received: nan"),
        ([1, 1, "skip", 1], "row 3: expected feedback as a number. Received: 'skip'"),
        (["1", "1", "-", "1"], "row 3: expected feedback as a number. Received: '-'"),
        (["1", "1", "1", "1"], "row 7: expected feedback as a number. Received: '1'"),
        ([1, True, 1, 1], "row 7: expected feedback as a number. Received: True"),
        ([True, False, True, True], "row 7: expected feedback as a number. Received: True"),
    ],
)
def test_feedback_that_is_none(values, message):
    frame = plays(verdict=pd.Series(values, index=plays().index).to_numpy())
    with pytest.raises(ValueError, match=f"the DataFrame, column 'verdict', {message}"):
        read_frame(frame, session="visit", item="track", feedback="verdict")


def test_function_that_returns_too_little():
    with pytest.raises(ValueError, match=r"for each of the 4 rows. Received: 1 values"):
        read_frame(plays(), session="visit", item="track", feedback=lambda frame: 1)


@pytest.mark.parametrize("role", ["session", "item", "feedback", "user", "position", "timestamp"])
def test_missing_column(role):
    names = {"session": "visit", "item": "track", "feedback": "verdict", **ALL, role: "nowhere"}
    with pytest.raises(
        ValueError, match=r"the DataFrame: column 'nowhere' is missing. Received columns: \['visit'"
    ):
        read_frame(plays(), **names)


@pytest.mark.parametrize("role", ["session", "item", "feedback", "user", "position", "timestamp"])
def test_missing_value(role):
    names = {"session": "visit", "item": "track", "feedback": "verdict", **ALL}
    frame = plays()
    frame.index = [10, 11, 12, 13]
    frame[names[role]] = frame[names[role]].astype(object)
    frame.loc[12, names[role]] = None
    with pytest.raises(ValueError, match=f"column '{names[role]}', row 12: expected a value"):
        read_frame(frame, **names)


def test_column_that_is_there_twice():
    frame = pd.concat([plays(), plays()[["track"]]], axis=1)
    with pytest.raises(ValueError, match="column 'track' must be there once"):
        read_frame(frame, session="visit", item="track")


@pytest.mark.parametrize("role", ["position", "timestamp"])
@pytest.mark.parametrize(
    ("values", "row", "received"),
    [
        (["1", "2", "third", "4"], 3, "'third'"),
        (["1", "2", "3", "4"], 7, "'1'"),
        ([True, False, True, True], 7, "True"),
        ([1, 2, (3,), 4], 3, r"\(3,\)"),
    ],
)
def test_order_by_something_else_than_numbers_or_times(role, values, row, received):
    frame = plays(nth=values)
    with pytest.raises(
        ValueError,
        match=f"column 'nth', row {row}: expected a number or a time. Received: {received}",
    ):
        read_frame(frame, session="visit", item="track", **{role: "nth"})


def test_times_with_a_zone():
    frame = plays(at=plays()["at"].dt.tz_localize("Europe/Berlin"))
    events = read_frame(frame, session="visit", item="track", timestamp="at")
    assert events["timestamp"].tolist() == frame["at"].tolist()


def test_items_of_both_types():
    with pytest.raises(TypeError, match="the DataFrame, column `item`"):
        read_frame(plays(track=["a", 1, "b", "c"]), session="visit", item="track")


def test_no_rows():
    with pytest.raises(ValueError, match="the DataFrame: there are no events"):
        read_frame(plays().iloc[:0], session="visit", item="track", feedback="verdict", **ALL)


def test_ids_of_a_csv_keep_what_they_are(tmp_path):
    path = tmp_path / "plays.csv"
    path.write_text('visit,track\n007,"one, two"\n7,NA\n1e3,"say ""hi"""\n')
    events = read_frame(path, session="visit", item="track")
    assert events["session"].tolist() == ["007", "7", "1e3"]
    assert events["item"].tolist() == ["one, two", "NA", 'say "hi"']


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("visit,track,verdict\n1,2,1\n1,2\n", "line 3: expected 3 fields .* Received 2: '1,2'"),
        ("visit,track,verdict\n1,2,1\n1,2,1,5\n", "line 3: expected 3 fields .* Received 4"),
        ("visit,track,verdict\n1,2,1\n1,2,x\n", "column 'verdict', line 3: .* Received: 'x'"),
        ("visit,track,verdict\n1,2,1\n1,2,0.5\n", "column 'verdict', line 3: .* Received: 0.5"),
        ("visit,track,verdict\n1,2,1\n1,2,\n", "column 'verdict', line 3: expected a value"),
        ("visit,track,verdict\n1,2,1\n1,,1\n", "column 'track', line 3: expected an id"),
        ("visit,track,verdict\n1,2,1\n\n1,2,1\n", "line 3: .* Received a blank line"),
        ('visit,track,verdict\n1,"2\n3",1\n1,2,1\n', "line 2: a value holds a line break"),
        ('visit,track,verdict\n1,"2,1\n1,2,1\n', "line 2: a value holds a line break|expected 3"),
    ],
)
def test_malformed_csv(tmp_path, content, message):
    path = tmp_path / "plays.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"plays.csv, {message}"):
        read_frame(path, session="visit", item="track", feedback="verdict")


def test_timestamp_of_a_csv_that_is_none(tmp_path):
    path = tmp_path / "plays.csv"
    path.write_text("visit,track,at\n1,2,2024-01-01T00:00:00\n1,2,noon\n")
    with pytest.raises(ValueError, match="column 'at', line"):
        read_frame(path, session="visit", item="track", timestamp="at")
    path.write_text("visit,track,at\n1,2,100\n1,2,noon\n")
    with pytest.raises(ValueError, match=r"column 'at', line 3: .* Received: 'noon'"):
        read_frame(path, session="visit", item="track", timestamp="at")


def test_empty_and_unknown_files(tmp_path):
    path = tmp_path / "plays.csv"
    path.write_text("")
    with pytest.raises(ValueError, match=r"plays.csv: there are no events"):
        read_frame(path, session="visit", item="track")
    path.write_text("visit,track\n")
    with pytest.raises(ValueError, match=r"plays.csv: there are no events"):
        read_frame(path, session="visit", item="track")
    path = tmp_path / "plays.xlsx"
    path.write_text("x")
    with pytest.raises(
        ValueError, match=r"Expected a .csv, .csv.gz or .parquet file. Received: .*x"
    ):
        read_frame(path, session="visit", item="track")
    path = tmp_path / "plays.parquet"
    path.write_text("x")
    with pytest.raises(ValueError, match=r"plays.parquet cannot be read as Parquet"):
        read_frame(path, session="visit", item="track")


@pytest.mark.parametrize("name", ["absent.csv", "absent.parquet"])
def test_missing_file(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=name):
        read_frame(tmp_path / name, session="visit", item="track")
