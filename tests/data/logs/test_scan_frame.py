import numpy as np
import pandas as pd
import pytest
from log_files import problems, values, write

from keras_negrec.data.logs.frame import scan_frame

NAMES = {"session": "visit", "item": "track", "feedback": "verdict"}
ALL = {**NAMES, "user": "listener", "position": "nth", "timestamp": "at"}
COLUMNS = ("session", "item", "feedback", "user", "position", "timestamp", "problem")


def plays(**columns):
    frame = pd.DataFrame(
        {
            "visit": ["v1", "v1", "v2", "v3"],
            "track": [10, 11, 10, 12],
            "verdict": [1, -2, 0, 2],
            "listener": ["ann", "ann", "ann", "bob"],
            "nth": [1, 2, 1, 1],
            "at": pd.to_datetime([100_000, 130_500, 900_000, 50_000], unit="ms").astype(
                "datetime64[us]"
            ),
            "played": [0.9, 0.1, 1.0, 0.3],
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


KINDS = pytest.mark.parametrize("kind", ["DataFrame", "csv", "csv.gz", "parquet"])


@KINDS
def test_columns_by_name(source, connection, kind):
    scan = scan_frame(source(plays(), kind), connection, **ALL)
    assert values(scan, *COLUMNS) == EXPECTED
    assert str(scan.feedback.type()) == "int8"


@KINDS
def test_without_feedback_every_event_is_positive(source, connection, kind):
    scan = scan_frame(source(plays(), kind), connection, session="visit", item="track")
    assert values(scan, "session", "item", "feedback")[1] == ["v1", 11, 1]
    assert set(scan.columns) - {"row"} == {"session", "item", "feedback", "file", "problem"}


@KINDS
def test_a_column_of_that_name_is_the_feedback(source, connection, kind):
    frame = plays().rename(columns={"verdict": "feedback"})
    scan = scan_frame(source(frame, kind), connection, session="visit", item="track")
    assert values(scan, "item", "feedback") == [[10, 0], [10, 1], [11, -2], [12, 2]]


@pytest.mark.parametrize("kind", ["DataFrame", "parquet"])
def test_feedback_by_a_function(source, connection, kind):
    def rule(table):
        return (table.played < 0.5).ifelse(-1, 1)

    scan = scan_frame(source(plays(), kind), connection, **{**NAMES, "feedback": rule})
    assert values(scan, "row", "feedback") == [[0, 1], [1, -1], [2, 1], [3, -1]]


def test_columns_that_are_called_as_those_of_a_scan(connection):
    names = {"visit": "session", "track": "item", "verdict": "feedback", "at": "timestamp"}
    frame = plays().rename(columns=names)
    scan = scan_frame(
        frame,
        connection,
        session="session",
        item="item",
        feedback="feedback",
        timestamp="timestamp",
    )
    assert values(scan, "session", "item", "feedback", "timestamp") == [
        [row[0], row[1], row[2], row[5]] for row in EXPECTED
    ]
    with pytest.raises(ValueError, match=r"the DataFrame: a column cannot be called 'row'"):
        scan_frame(plays(row=1), connection, **NAMES)


@pytest.mark.parametrize(
    "values_",
    [[1.0, -2.0, 0.0, 2.0], pd.array([1, -2, 0, 2], "Int8"), np.array([1, -2, 0, 2], "int16")],
)
def test_whole_numbers_of_any_type_are_feedback(connection, values_):
    frame = plays().reset_index(drop=True).assign(verdict=values_)
    assert values(scan_frame(frame, connection, **ALL), *COLUMNS) == EXPECTED


@KINDS
@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("visit", None, "column `visit`: expected an id. Received: {}"),
        ("track", None, "column `track`: expected a whole number. Received: {}"),
        ("listener", None, "column `listener`: expected an id. Received: {}"),
        ("nth", None, "column `nth`: expected a whole number. Received: {}"),
        ("at", None, "column `at`: expected a number or a time. Received: {}"),
        ("verdict", None, "column `verdict`: expected a whole number. Received: {}"),
        ("verdict", 3, "column `feedback`: expected -2, -1, 0, 1 or 2. Received: 3"),
    ],
)
def test_value_that_is_none(source, connection, kind, column, value, problem):
    frame = plays().reset_index(drop=True)
    if column in ("track", "nth", "verdict"):
        frame[column] = frame[column].astype("Int64")
    frame.loc[1, column] = value
    scan = scan_frame(source(frame, kind), connection, **ALL)
    assert problems(scan) == [problem.format("''" if "csv" in kind else "None")]
    assert len(values(scan, "session")) == 4


def test_feedback_with_a_fraction(connection):
    scan = scan_frame(plays(verdict=[1, 0.5, 1, 1]), connection, **NAMES)
    assert problems(scan) == ["column `verdict`: expected a whole number. Received: 0.5"]


@pytest.mark.parametrize("role", ["session", "item", "feedback", "user", "position", "timestamp"])
@KINDS
def test_missing_column(source, connection, kind, role):
    with pytest.raises(
        ValueError, match=r": column 'nowhere' is missing. Received columns: \['vis"
    ):
        scan_frame(source(plays(), kind), connection, **{**ALL, role: "nowhere"})


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("visit", 0.5, "expected an id. Received type: float64"),
        ("nth", True, "expected a number or a time. Received type: boolean"),
        ("verdict", True, "expected a whole number. Received type: boolean"),
    ],
)
def test_column_of_another_type(connection, column, value, message):
    with pytest.raises(ValueError, match=f"the DataFrame: column '{column}': {message}"):
        scan_frame(plays(**{column: value}), connection, **ALL)


def test_values_of_several_types(connection):
    with pytest.raises(ValueError, match=r"the DataFrame: expected values of one type in each.*tr"):
        scan_frame(plays(track=["a", 1, "b", "c"]), connection, **ALL)


def test_a_column_without_any_value_does_no_harm(connection):
    assert values(scan_frame(plays(note=None), connection, **ALL), *COLUMNS) == EXPECTED


def test_ids_of_a_csv_keep_what_they_are(tmp_path, connection):
    text = 'visit,track\n007,"one, two"\n7,NA\n1e3,"say ""hi"""\n8,""""\n9,x\\y\n'
    path = write(tmp_path / "plays.csv", text)
    scan = scan_frame(path, connection, session="visit", item="track", number_rows=True)
    assert values(scan, "row", "session", "item", "problem") == [
        [2, "007", "one, two", None],
        [3, "7", "NA", None],
        [4, "1e3", 'say "hi"', None],
        [5, "8", '"', None],
        [6, "9", "x\\y", None],
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1,2", "expected 3 fields separated by ','. Received: 2 in 1,2"),
        ("1,2,1,5", "expected 3 fields separated by ','. Received: 4 in 1,2,1,5"),
        ('1,"2,1', 'expected every quote to be closed on its line. Received: 1,"2,1'),
        ("1,2,x", "column `verdict`: expected a whole number. Received: 'x'"),
        ("1,2,0.5", "column `verdict`: expected a whole number. Received: '0.5'"),
        ("1,,1", "column `track`: expected a whole number. Received: ''"),
    ],
)
def test_line_of_a_csv_that_is_none(tmp_path, connection, line, problem):
    path = write(tmp_path / "plays.csv", f"visit,track,verdict\n1,2,1\n{line}\n3,4,-1\n")
    scan = scan_frame(path, connection, **NAMES)
    assert problems(scan) == [problem]
    fine = scan.filter(scan.problem.isnull())
    assert values(fine, "session", "item", "feedback") == [[1, 2, 1], [3, 4, -1]]


def test_times_of_a_csv(tmp_path, connection):
    lines = ["1970-01-01T00:01:40", "1970-01-01 00:01:40.5", "1970-01-02", "100", "2.5", "noon"]
    path = write(tmp_path / "plays.csv", "visit,track,at\n" + "".join(f"1,2,{t}\n" for t in lines))
    scan = scan_frame(
        path, connection, session="visit", item="track", timestamp="at", number_rows=True
    )
    found = [time for _, time in values(scan, "row", "timestamp")]
    assert found == [100.0, 100.5, 86400.0, 100.0, 2.5, None]
    assert problems(scan) == ["column `at`: expected a number or a time. Received: 'noon'"]


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


def test_files_of_other_kinds(tmp_path, connection):
    with pytest.raises(ValueError, match=r"Expected .csv, .csv.gz or .parquet files.*plays.xlsx"):
        scan_frame(write(tmp_path / "plays.xlsx", "x"), connection, **ALL)
    with pytest.raises(ValueError, match=r"plays.parquet cannot be read as Parquet"):
        scan_frame(write(tmp_path / "plays.parquet", "x"), connection, **ALL)


def test_text_that_is_not_utf8(tmp_path, connection):
    path = write(tmp_path / "plays.csv", "visit,track\n1,Jóga\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"plays.csv cannot be read. Received: .*not utf-8"):
        scan_frame(path, connection, session="visit", item="track")
