import pytest
from log_files import problems, values, yambda_events

from keras_negrec.data.logs.yambda import scan_yambda

# uid, timestamp in 5 seconds, item, event, played ratio.
EVENTS = [
    (7, 0, 30, "listen", 49),
    (7, 2, 31, "listen", 50),
    (7, 2, 31, "like", None),
    (7, 242, 32, "dislike", None),  # 1200 s after the one before: the session goes on
    (7, 483, 31, "unlike", None),  # 1205 s
    (7, 484, 32, "undislike", None),
    (5, 100, 30, "listen", 120),
]


@pytest.fixture
def multi_event(tmp_path):
    path = tmp_path / "multi_event.parquet"
    yambda_events(*EVENTS).to_parquet(path)
    return path


def test_every_kind_of_event(multi_event, connection):
    scan = scan_yambda(multi_event, connection)
    columns = ("user", "timestamp", "session", "position", "item", "feedback", "problem")
    assert values(scan, *columns) == [
        [5, 500, "5_0", 0, 30, 1, None],
        [7, 0, "7_0", 0, 30, -1, None],
        [7, 10, "7_0", 1, 31, 1, None],
        [7, 10, "7_0", 2, 31, 2, None],
        [7, 1210, "7_0", 3, 32, -2, None],
        [7, 2415, "7_1", 0, 31, 0, None],
        [7, 2420, "7_1", 1, 32, 0, None],
    ]
    types = {name: str(scan[name].type()) for name in ("user", "item", "timestamp", "feedback")}
    assert types == {"user": "int64", "item": "int64", "timestamp": "int64", "feedback": "int8"}


def test_parameters(multi_event, connection):
    scan = scan_yambda(multi_event, connection, positive_from=121, session_gap=9, number_rows=True)
    listens = [row[1:] for row in values(scan, "row", "session", "feedback") if row[0] in (0, 1, 6)]
    assert listens == [["7_0", -1], ["7_1", -1], ["5_0", -1]]


def test_one_file_an_event(multi_event, tmp_path, connection):
    expected = values(scan_yambda(multi_event, connection), "user", "session", "item", "feedback")
    folder = tmp_path / "flat"
    folder.mkdir()
    events = yambda_events(*EVENTS)
    for event in ("listen", "like", "dislike", "unlike", "undislike"):
        columns = ["uid", "timestamp", "item_id", "is_organic"]
        columns += ["played_ratio_pct", "track_length_seconds"] if event == "listen" else []
        rows = events["event_type"] == event
        events.loc[rows, columns].to_parquet(folder / f"{event}s.parquet")
    yambda_events(*EVENTS).to_parquet(folder / "embeddings.parquet")  # Not among the events.
    found = values(scan_yambda(folder, connection), "user", "session", "item", "feedback")
    assert found == expected
    likes = scan_yambda(folder / "likes.parquet", connection)
    assert values(likes, "item", "feedback", "file") == [[31, 2, str(folder / "likes.parquet")]]
    # Where there is the file of all events, the others are not read too.
    events.to_parquet(folder / "multi_event.parquet")
    assert len(values(scan_yambda(folder, connection), "user")) == len(EVENTS)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("played_ratio_pct", None, "expected a number. Received: nothing"),
        ("item_id", None, "expected a whole number. Received: nothing"),
        ("uid", None, "expected a whole number. Received: nothing"),
        ("timestamp", None, "expected a whole number. Received: nothing"),
        ("event_type", "hum", "expected one of listen, like, unlike, dislike, undislike. "),
        ("event_type", None, "expected one of listen, like, unlike, dislike, undislike. "),
    ],
)
def test_value_that_is_none(tmp_path, connection, column, value, expected):
    events = yambda_events(*EVENTS)
    events[column] = events[column].astype("object" if column == "event_type" else "Int64")
    events.loc[1, column] = value
    events.to_parquet(tmp_path / "multi_event.parquet")
    scan = scan_yambda(tmp_path, connection, number_rows=True)
    [problem] = problems(scan)
    assert problem.startswith(f"column `{column}`: {expected}")
    assert values(scan.filter(scan.problem.notnull()), "row", "session") == [[1, None]]
    assert len(values(scan, "row")) == len(EVENTS)


def test_events_at_one_time(tmp_path, connection):
    kinds = ["undislike", "like", "dislike", "unlike", "listen"]
    events = yambda_events(*((7, 0, 30, kind, 100 if kind == "listen" else None) for kind in kinds))
    events.to_parquet(tmp_path / "multi_event.parquet")
    found = values(scan_yambda(tmp_path, connection, number_rows=True), "position", "row")
    assert [kinds[row] for _, row in found] == ["listen", "like", "unlike", "dislike", "undislike"]


def test_columns_that_cannot_be_read(tmp_path, connection):
    path = tmp_path / "events.parquet"
    yambda_events(*EVENTS).astype({"uid": "float32"}).to_parquet(path)
    with pytest.raises(ValueError, match=r"column 'uid': expected a whole number. .*float32"):
        scan_yambda(path, connection)
    yambda_events(*EVENTS).drop(columns="event_type").to_parquet(path)
    with pytest.raises(ValueError, match=r"events.parquet: expected the column `event_type`, or"):
        scan_yambda(path, connection)
