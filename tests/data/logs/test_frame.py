"""Any table, by whichever door: in memory or as a file, lazily or as a DataFrame."""

import numpy as np
import pandas as pd
import pytest
from log_files import problems, values, write

from keras_negrec.data import read_frame
from keras_negrec.data.logs.frame import scan_frame

NAMES = {"session": "visit", "item": "track", "feedback": "verdict"}
ALL = {**NAMES, "user": "listener", "position": "nth", "timestamp": "at"}
COLUMNS = ("session", "item", "feedback", "user", "position", "timestamp", "problem")
KINDS = pytest.mark.parametrize("kind", ["DataFrame", "csv", "csv.gz", "parquet"])


def plays(**columns):
    frame = pd.DataFrame(
        {
            "visit": ["v1", "v1", "v2", "v3"],
            "track": [10, 11, 10, 12],
            "verdict": [1, -2, 0, 2],
            "listener": ["ann", "ann", "ann", "bob"],
            "nth": [1, 2, 1, 1],
            "at": pd.to_datetime([100_000, 130_500, 900_000, 50_000], unit="ms"),
            "played": [0.9, 0.1, 1.0, 0.3],
            "skipped": [False, True, False, False],
        },
        index=[7, 7, 3, 0],
    )
    return frame.assign(**columns)


EXPECTED = [
    ["v1", 10, 1, "ann", 1, 100.0, None],
    ["v1", 11, -2, "ann", 2, 130.5, None],
    ["v2", 10, 0, "ann", 1, 900.0, None],
    ["v3", 12, 2, "bob", 1, 50.0, None],
]


@pytest.fixture
def source(tmp_path):
    def store(frame, kind):
        path = tmp_path / f"plays.{kind}"
        if kind == "parquet":
            frame.to_parquet(path)
        elif kind != "DataFrame":
            frame.to_csv(path, index=False)
        return frame if kind == "DataFrame" else path

    return store


@KINDS
def test_columns_by_name(source, connection, kind):
    frame = plays()
    scan = scan_frame(source(frame, kind), connection, **ALL)
    assert values(scan, *COLUMNS) == EXPECTED
    assert str(scan.feedback.type()) == "int8"
    events = read_frame(source(frame, kind), **ALL)
    assert events[
        ["session", "item", "feedback", "user", "position", "timestamp"]
    ].values.tolist() == [row[:-1] for row in EXPECTED]
    assert events["feedback"].dtype == "int8" and events.index.tolist() == [0, 1, 2, 3]
    pd.testing.assert_frame_equal(frame, plays())


@KINDS
def test_without_feedback_every_event_is_positive_unless_a_column_has_that_name(source, kind):
    events = read_frame(source(plays(), kind), session="visit", item="track")
    assert list(events.columns) == ["session", "item", "feedback"]
    assert events["feedback"].tolist() == [1, 1, 1, 1]
    frame = plays().rename(columns={"verdict": "feedback"})
    events = read_frame(source(frame, kind), session="visit", item="track")
    assert events["feedback"].tolist() == [1, -2, 0, 2]


@KINDS
def test_a_function_gets_the_same_table_of_any_log(source, kind):
    seen = {}

    def rule(log):
        seen.update({name: log[name].type() for name in ("track", "played", "skipped", "at")})
        return (log.skipped | (log.played < 0.5) | (log["at"].year() > 1970)).ifelse(-1, 1)

    events = read_frame(source(plays(), kind), **{**NAMES, "feedback": rule})
    assert events["feedback"].tolist() == [1, -1, 1, -1]
    assert [seen["track"].is_integer(), seen["played"].is_floating()] == [True, True]
    assert [seen["skipped"].is_boolean(), seen["at"].is_timestamp()] == [True, True]


@pytest.mark.parametrize("kind", ["DataFrame", "csv"])
@pytest.mark.parametrize(
    ("column", "meanings", "feedback"),
    [
        ([False, True, False, False], {True: -1, False: 1}, [1, -1, 1, 1]),
        ([False, True, False, False], {"true": -1, "false": 1}, [1, -1, 1, 1]),
        (["True", "false", "FALSE", "true"], {"true": -1, "false": 1}, [-1, 1, 1, -1]),
        (["like", "skip", "like", None], {"like": 2, "skip": -1, None: 0}, [2, -1, 2, 0]),
        ([0, 1, 2, 1], {"0": -2, "1": 1, "2": 2}, [-2, 1, 2, 1]),
        ([0.0, 1.5, None, 1.0], {0: -2, 1.5: 1, "": 0, 1: 2}, [-2, 1, 0, 2]),
        ([True, None, False, True], {True: -1, False: 1, None: 0}, [-1, 0, 1, -1]),
    ],
)
def test_what_each_value_of_a_column_means(source, kind, column, meanings, feedback):
    rule = {"column": "how", "values": meanings}
    events = read_frame(source(plays(how=column), kind), **{**NAMES, "feedback": rule})
    assert events["feedback"].tolist() == feedback


@KINDS
def test_a_bare_boolean_does_not_say_what_is_a_skip(source, kind):
    line = r'feedback=\{"column": \'skipped\', "values": \{True: -1, False: 1\}\}'
    with pytest.raises(ValueError, match=f"column 'skipped' is true or false.*{line}"):
        read_frame(source(plays(), kind), **{**NAMES, "feedback": "skipped"})


@pytest.mark.parametrize(
    "rule",
    [
        {"column": "skipped"},
        {"column": "skipped", "values": {}},
        {"column": "skipped", "values": {True: -3, False: 1}},
        {"column": "skipped", "values": {True: -1, False: 1}, "other": 1},
        {"values": {True: -1}},
    ],
)
def test_a_dict_that_is_no_rule(rule):
    with pytest.raises(ValueError, match=r'for example \{"column": "skipped", .*Received: '):
        read_frame(plays(), **{**NAMES, "feedback": rule})


@pytest.mark.parametrize(
    "values_",
    [
        [1.0, -2.0, 0.0, 2.0],
        pd.array([1, -2, 0, 2], "Int8"),
        pd.Series([1, -2, 0, 2], dtype=object),
        pd.Categorical([1, -2, 0, 2]),
        np.array([1, -2, 0, 2], "float32"),
        ["1", "-2", "0", "2.0"],
    ],
)
def test_whole_numbers_of_any_type_are_feedback(connection, values_):
    frame = plays().reset_index(drop=True).assign(verdict=values_)
    assert values(scan_frame(frame, connection, **ALL), *COLUMNS) == EXPECTED


@pytest.mark.parametrize("kind", ["DataFrame", "csv"])
@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("visit", None, "column `visit`: expected an id. Received: nothing"),
        ("track", None, "column `track`: expected a whole number. Received: nothing"),
        ("listener", None, "column `listener`: expected an id. Received: nothing"),
        ("nth", None, "column `nth`: expected a whole number. Received: nothing"),
        ("at", None, "column `at`: expected a time. Received: nothing"),
        ("verdict", None, "column `verdict`: expected a whole number. Received: nothing"),
        ("verdict", 3, "column `verdict`: expected -2, -1, 0, 1 or 2. Received: 3"),
        ("verdict", 0.5, "column `verdict`: expected a whole number. Received: 0.5"),
        ("verdict", "skip", "column `verdict`: expected a whole number. Received: 'skip'"),
        ("verdict", True, "column `verdict`: expected a whole number. Received: 'True'"),
        ("nth", np.inf, "column `nth`: expected a number. Received: inf"),
        ("nth", "third", "column `nth`: expected a whole number. Received: 'third'"),
        ("at", "noon", "column `at`: expected a time. Received: 'noon'"),
        ("at", -1, "column `at`: expected a time. Received: -1"),
    ],
)
def test_value_that_is_none(source, kind, column, value, problem):
    cells = [*plays()[column]]
    if column == "at" and value is not None:
        cells = [time.isoformat() for time in cells]
    cells[1] = value
    integers = value is None and column in ("track", "nth", "verdict")
    frame = plays(**{column: pd.array(cells, "Int64") if integers else cells})
    line = "line 3" if "csv" in kind else "row 1"
    with pytest.raises(ValueError) as raised:
        read_frame(source(frame, kind), **ALL)
    assert f"{line}, {problem}\nIt is the only row with a problem" in str(raised.value)
    with pytest.warns(UserWarning, match="1 of 4 events are left out. column `"):
        events = read_frame(source(frame, kind), **ALL, errors="skip")
    assert events.attrs["dropped"] == {problem.split(" Received")[0]: 1} and len(events) == 3


@pytest.mark.parametrize("kind", ["DataFrame", "csv", "parquet"])
@pytest.mark.parametrize("role", ["session", "feedback", "timestamp"])
def test_missing_column(source, kind, role):
    message = r": column 'nowhere' is missing. Received columns: \['vis"
    with pytest.raises(ValueError, match=message):
        read_frame(source(plays(), kind), **{**ALL, role: "nowhere"})


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("visit", 0.5, "column 'visit': expected an id. Received type: float64"),
        ("nth", True, "column 'nth': expected a number. Received type: boolean"),
        (
            "track",
            ["a", 1, "b", "c"],
            "column 'track': expected ids that are all strings or all integers",
        ),
    ],
)
def test_column_of_another_type(column, value, message):
    with pytest.raises(ValueError, match=f"the DataFrame: {message}"):
        read_frame(plays(**{column: value}), **ALL)


def test_columns_that_are_there_twice_or_taken():
    with pytest.raises(ValueError, match="column 'track' must be there once"):
        read_frame(pd.concat([plays(), plays()[["track"]]], axis=1), **NAMES)
    with pytest.raises(ValueError, match=r"the DataFrame: a column cannot be called 'row'"):
        read_frame(plays(row=1), **NAMES)


def test_columns_that_are_called_as_those_of_events(connection):
    names = {"visit": "session", "track": "item", "verdict": "feedback", "at": "timestamp"}
    frame = plays().rename(columns=names)
    roles = {name: name for name in names.values()}
    scan = scan_frame(frame, connection, **roles)
    assert values(scan, *roles) == [[*row[:3], row[5]] for row in EXPECTED]


def test_ids_of_a_csv_keep_what_they_are(tmp_path):
    text = 'visit,track\n007,"one, two"\n7,NA\n1e3,"say ""hi"""\n8,""""\n9,x\\y\n'
    events = read_frame(write(tmp_path / "plays.csv", text), session="visit", item="track")
    assert events["session"].tolist() == ["007", "7", "1e3", "8", "9"]
    assert events["item"].tolist() == ["one, two", "NA", 'say "hi"', '"', "x\\y"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1,2", "expected 3 fields separated by ','. Received: 2 in 1,2"),
        ("1,2,1,5", "expected 3 fields separated by ','. Received: 4 in 1,2,1,5"),
        ('1,"2,1', 'expected every quote to be closed on its line. Received: 1,"2,1'),
        ("1,,1", "column `track`: expected a whole number. Received: nothing"),
        (
            "visit,track,verdict",
            "expected the header in the first line alone. Received: visit,track,verdict",
        ),
    ],
)
def test_line_of_a_csv_that_is_none(tmp_path, connection, line, problem):
    path = write(tmp_path / "plays.csv", f"visit,track,verdict\n1,2,1\n\n{line}\n3,4,-1\n")
    scan = scan_frame(path, connection, **NAMES)
    assert problems(scan) == [problem]
    fine = scan.filter(scan.problem.isnull())
    assert values(fine, "session", "item", "feedback") == [[1, 2, 1], [3, 4, -1]]
    with pytest.raises(ValueError) as raised:  # The blank line is counted as a line.
        read_frame(path, **NAMES)
    assert str(raised.value).startswith(f"In {path}, line 4, {problem}\n")


@pytest.mark.parametrize("kind", ["DataFrame", "csv", "parquet"])
@pytest.mark.parametrize(
    ("unit", "zone"), [("s", None), ("ms", "Europe/Berlin"), ("ns", None), ("ns", "Europe/Berlin")]
)
def test_times_of_any_unit(source, kind, unit, zone):
    times = pd.to_datetime([100, 130, 900, 50], unit="s").as_unit(unit).tz_localize(zone)
    events = read_frame(source(plays(at=times), kind), **ALL)
    offset = 3600 if zone else 0
    assert events["timestamp"].tolist() == [second - offset for second in (100, 130, 900, 50)]


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["1970-01-01T00:01:40", "1970-01-01 00:01:40.5", "1970-01-02"], [100.0, 100.5, 86400.0]),
        (["1970-01-01T01:01:40+01:00", "1970-01-01T00:01:40Z"], [100.0, 100.0]),
        (["100", "2.5"], [100.0, 2.5]),
        (["100", "-1"], [100, -1]),
    ],
)
def test_times_of_text(tmp_path, cells, found):
    path = write(tmp_path / "plays.csv", "visit,track,at\n" + "".join(f"1,2,{t}\n" for t in cells))
    names = {"session": "visit", "item": "track", "timestamp": "at"}
    assert sorted(read_frame(path, **names)["timestamp"]) == sorted(set(found))
    frame = pd.DataFrame({"visit": 1, "track": 2, "at": cells})
    pd.testing.assert_frame_equal(read_frame(frame, **names), read_frame(path, **names))


def test_several_files(tmp_path, connection):
    for folder, kind in (("a", "csv"), ("b", "parquet")):
        (tmp_path / folder).mkdir()
        for name in ("x", "y"):
            path = tmp_path / folder / f"{name}.{kind}"
            plays().to_csv(path) if kind == "csv" else plays().to_parquet(path)
        scan = scan_frame(tmp_path / folder, connection, **ALL)
        assert values(scan, *COLUMNS) == sorted(EXPECTED * 2)
        assert {row[0] for row in values(scan, "file")} == {
            str(tmp_path / folder / f"{name}.{kind}") for name in ("x", "y")
        }
    plays(other=1).to_parquet(tmp_path / "b" / "z.parquet")
    with pytest.raises(ValueError, match=r"z.parquet: expected the columns of .*x.parquet"):
        scan_frame(tmp_path / "b", connection, **ALL)


def test_empty_missing_and_other_files(tmp_path):
    for text in ("", "visit,track,verdict\n", "\n\n"):
        with pytest.raises(ValueError, match=r"plays.csv: there are no events"):
            read_frame(write(tmp_path / "plays.csv", text), **NAMES)
    with pytest.raises(ValueError, match=r"the DataFrame: there are no events"):
        read_frame(plays().iloc[:0], **NAMES)
    with pytest.raises(ValueError, match=r"Expected .csv, .csv.gz or .parquet files.*plays.xlsx"):
        read_frame(write(tmp_path / "plays.xlsx", "x"), **NAMES)
    with pytest.raises(ValueError, match=r"plays.parquet cannot be read as Parquet"):
        read_frame(write(tmp_path / "plays.parquet", "x"), **NAMES)
    with pytest.raises(FileNotFoundError, match=r"absent.csv"):
        read_frame(tmp_path / "absent.csv", **NAMES)
