import pandas as pd
import pytest
from log_files import (
    KUAIRAND_HEADER,
    kuairand_line,
    kuairand_parquet,
    problems,
    values,
    write,
)

from keras_negrec.data.logs.kuairand import COLUMNS, read_kuairand, scan_kuairand

START = 1649390400000
LOG = (
    KUAIRAND_HEADER
    + "\n"
    + kuairand_line(4, 50, START)
    + kuairand_line(4, 51, START + 1500, long_view=1)
    + kuairand_line(4, 52, START + 601_500, like=1, play=7000)
    + kuairand_line(9, 50, START, like=1, hate=1, long_view=1)
)


@pytest.fixture
def log(tmp_path):
    return write(tmp_path / "log_standard_4_08_to_4_21_pure.csv", LOG)


def test_columns_are_the_published_ones():
    assert list(COLUMNS) == KUAIRAND_HEADER.split(",")


def test_events_of_a_log(log, connection):
    scan = scan_kuairand(log, connection)
    assert values(scan, "session", "timestamp", "item", "feedback", "user", "problem") == [
        [4, 1649390400.0, 50, -1, 4, None],
        [4, 1649390401.5, 51, 1, 4, None],
        [4, 1649391001.5, 52, 2, 4, None],
        [9, 1649390400.0, 50, -2, 9, None],
    ]


def test_sessions_by_gap(log, connection):
    for gap, last in ((600, ["4_0", 2, 52]), (599, ["4_1", 0, 52])):
        scan = scan_kuairand(log, connection, session_gap=gap)
        expected = [["4_0", 0, 50], ["4_0", 1, 51], last, ["9_0", 0, 50]]
        assert values(scan, "session", "position", "item") == expected


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("4,51,", "x,51,"), "column `user_id`: expected a whole number. Received: 'x'"),
        (("4,51,", "4,,"), "column `video_id`: expected a whole number. Received: nothing"),
        ((f"{START + 1500}", "x"), "column `time_ms`: expected a whole number. Received: 'x'"),
        (("0,1,1000,", "0,2,1000,"), "column `long_view`: expected 0 or 1. Received: 2"),
    ],
)
def test_value_that_is_none(tmp_path, connection, change, problem):
    path = write(tmp_path / "log_a.csv", LOG.replace(*change, 1))
    assert problems(scan_kuairand(path, connection)) == [problem]
    assert problems(scan_kuairand(path, connection, session_gap=600)) == [problem]
    path = write(path, LOG.replace(",1000,8000,", ",,8000.5,"))  # Times may be missing.
    assert problems(scan_kuairand(path, connection)) == []


def test_labelled_parquet(tmp_path, connection):
    path = tmp_path / "log.parquet"
    kuairand_parquet().to_parquet(path)
    scan = scan_kuairand(path, connection, number_rows=True)
    columns = ("session", "position", "item", "feedback", "split", "row", "problem")
    assert values(scan, *columns) == [
        [4, 0, 50, -1, "history", 0, None],
        [4, 1, 60, 2, "test", 1, None],
        [9, 0, 70, -2, "test", 2, None],
    ]


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("user_id", None, "column `user_id`: expected an id. Received: nothing"),
        ("item_id", None, "column `item_id`: expected an id. Received: nothing"),
        ("position", None, "column `position`: expected a whole number. Received: nothing"),
        ("split", None, "column `split`: expected a value. Received: nothing"),
        ("long_view", None, "column `long_view`: expected 0 or 1. Received: nothing"),
        ("long_view", 2, "column `long_view`: expected 0 or 1. Received: 2"),
        ("is_like", 3, "column `is_like`: expected 0, 1 or missing. Received: 3"),
        ("is_hate", -1, "column `is_hate`: expected 0, 1 or missing. Received: -1"),
    ],
)
def test_value_of_a_parquet_that_is_none(tmp_path, connection, column, value, problem):
    log = kuairand_parquet()
    log.loc[1, column] = value
    log.to_parquet(tmp_path / "log.parquet")
    scan = scan_kuairand(tmp_path / "log.parquet", connection, number_rows=True)
    assert problems(scan) == [problem]
    assert values(scan.filter(scan.problem.notnull()), "row") == [[1]]


@pytest.mark.parametrize("column", ["user_id", "item_id", "position", "split", "is_like"])
def test_missing_column_of_a_parquet(tmp_path, connection, column):
    kuairand_parquet().drop(columns=column).to_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=f"log.parquet: column '{column}' is missing"):
        scan_kuairand(tmp_path / "log.parquet", connection)


def test_a_rule_of_ones_own_needs_no_labels(tmp_path, connection):
    log = kuairand_parquet().drop(columns=["long_view", "is_like", "is_hate"])
    log.to_parquet(tmp_path / "log.parquet")
    scan = scan_kuairand(
        tmp_path / "log.parquet", connection, feedback=lambda log: log.position.cast("int64")
    )
    assert values(scan, "session", "feedback") == [[4, 0], [4, 1], [9, 0]]


def test_a_parquet_has_no_times(tmp_path, connection):
    kuairand_parquet().to_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"has no times .*Received: session_gap=60"):
        scan_kuairand(tmp_path / "log.parquet", connection, session_gap=60)


def test_the_published_log(shared_data, connection):
    path = shared_data / "kuairand_pure_labelled.parquet"
    scan = scan_kuairand(path, connection)
    counts = scan.aggregate(
        events=scan.count(),
        users=scan.session.nunique(),
        items=scan.item.nunique(),
        problems=scan.problem.count(),
    )
    assert values(counts, *counts.columns) == [[1_039_631, 27_077, 7_502, 0]]
    events = read_kuairand(path)
    counts = events["feedback"].value_counts().to_dict()
    assert counts == {-1: 676_105, 1: 359_470, 2: 3_869, -2: 187}
    splits = events["split"].value_counts().to_dict()
    assert splits == {"history": 817_187, "validation": 91_805, "test": 130_639}
    assert not events.duplicated(["session", "position"]).any()
    # Reactions are unknown in the history part, so that nothing there is liked or hated.
    assert events["feedback"][events["split"] == "history"].abs().max() == 1
    # What the labels say, counted apart, in the order of the file: 677,651 were not watched.
    log = pd.read_parquet(path)
    assert (log["long_view"] == 0).sum() == 677_651
    for ours, theirs in (("session", "user_id"), ("item", "item_id"), ("position", "position")):
        assert (events[ours].to_numpy() == log[theirs].to_numpy()).all()
