"""What `read_log` does whatever the format, and formats and columns of one's own."""

from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pytest
from log_files import RATINGS, lastfm_line, mssd_line, mssd_log, mssd_session, write, yambda_events

from keras_negrec.data import (
    event_columns,
    load_prepared,
    prepare,
    read_frame,
    read_lastfm1k,
    read_log,
    read_movielens,
    read_mssd,
    read_sequences,
    read_yambda,
    register_event_column,
)
from keras_negrec.data.logs.engine import open_engine

NAMES = {"session": "visit", "item": "track"}


@pytest.mark.parametrize(
    ("name", "text", "line", "received"),
    [
        ("a.csv", "visit,track\n1,J\udcf3ga\n1,ok\n", 2, "byte 0xf3 after 3 bytes of '1,J"),
        ("a.csv.gz", "visit,track\n1,ok\n\n1,J\udcf3ga\n", 4, "byte 0xf3 after 3 bytes of '1,J"),
    ],
)
def test_a_byte_that_is_not_utf8_is_a_problem_of_its_line(tmp_path, name, text, line, received):
    path = write(tmp_path / name, text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError) as raised:
        read_frame(path, **NAMES)
    expected = f"In {path}, line {line}, expected text in UTF-8, which `iconv -f latin1"
    assert str(raised.value).startswith(expected) and received in str(raised.value)
    with pytest.warns(UserWarning, match="1 of 2 events are left out"):
        assert read_frame(path, **NAMES, errors="skip")["item"].tolist() == ["ok"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\n\r\n", "\n \n"])
def test_line_ends_of_any_kind(tmp_path, end):
    path = write(tmp_path / "music.txt", "\ufeff1 10 20" + end + "2 20\r3 30\n4 Øl")
    events = read_sequences(path)
    assert events["session"].tolist() == [1, 1, 2, 3, 4]
    assert events["item"].tolist() == ["10", "20", "20", "30", "Øl"]
    path = write(tmp_path / "r.dat", RATINGS.replace("\n", end))
    assert read_movielens(path)["item"].tolist() == [1193, 661, 1193]


def broken_log(folder):
    """A file with two rows that cannot be understood, in line 4 and 13, and two bad sessions."""
    log = mssd_log(*mssd_session("a"), *mssd_session("b"), *mssd_session("c")[:-1])
    log = log.replace(mssd_line("a", 3, 10, "t_3", 3), mssd_line("a", "third", 10, "t_3", 3))
    log = log.replace(mssd_line("b", 2, 10, "t_2", 2), mssd_line("b", "second", 10, "t_2", 2))
    write(folder / "log_0.csv", log)
    write(folder / "log_1.csv", mssd_log(*mssd_session("d"), *mssd_session("b")))


def test_problems_of_rows_and_sessions_are_counted_as_prepare_counts_them(tmp_path):
    (tmp_path / "raw").mkdir()
    broken_log(tmp_path / "raw")
    with pytest.raises(ValueError, match=r"In .*log_0.csv, line 4, .*'third'\n2 rows have a prob"):
        read_mssd(tmp_path / "raw")
    with pytest.warns(UserWarning, match="30 of 49 events are left out") as warned:
        events = read_mssd(tmp_path / "raw", errors="skip")
    assert [one.filename for one in warned if one.category is UserWarning] == [__file__]
    # Nine rows of a; all of d; b is in two files and c lacks a row.
    assert events["session"].value_counts().to_dict() == {"a": 9, "d": 10}
    assert events["position"].tolist() == [1, 2, *range(4, 11), *range(1, 11)]
    manifest = prepare(
        tmp_path / "raw", tmp_path / "out", format="mssd", errors="skip", verbose=False
    )
    dropped = {drop["reason"]: drop["events"] for drop in manifest["counts"]["dropped"]}
    assert events.attrs["dropped"] == dropped and sum(dropped.values()) == 30


def test_duplicates(tmp_path):
    lines = RATINGS + "1::661::5::978302109\n"
    path = write(tmp_path / "ratings.dat", lines)
    with pytest.warns(UserWarning, match=r"1 of 4 events are left out. duplicate events \(1\)"):
        events = read_movielens(path)
    # Of equally strong feedback the negative.
    assert events["feedback"].tolist() == [1, -1, 1]
    assert len(read_log(path, "movielens", duplicates="keep")) == 4
    with pytest.raises(ValueError, match=r"1 events are duplicates.*first in session 1"):
        read_log(path, "movielens", duplicates="raise")


def test_order_of_events(tmp_path):
    write(tmp_path / "log_1.csv", mssd_log(*mssd_session("a", track=50)))
    write(tmp_path / "log_0.csv.gz", mssd_log(*mssd_session("c"), *mssd_session("b")))
    assert read_mssd(tmp_path)["session"].unique().tolist() == ["c", "b", "a"]
    plays = lastfm_line("b", "10:25:01", track="Halleluwah", track_id="")
    plays += lastfm_line("a", "11:00:20", track="Moonshake", track_id="")
    plays += lastfm_line("a", "11:00:00")
    events = read_lastfm1k(write(tmp_path / "plays.tsv", plays))
    assert events["timestamp"].tolist() == [1241434800, 1241434820, 1241432701]
    assert list(events) == ["session", "user", "item", "feedback", "position", "timestamp"]
    yambda_events(
        (7, 2, 31, "like", None), (5, 3, 30, "listen", 9), (7, 0, 30, "listen", 49)
    ).to_parquet(tmp_path / "multi_event.parquet")
    assert read_yambda(tmp_path)["timestamp"].tolist() == [15, 0, 10]


def my_scan(path, connection, *, skip_below=0.5):
    log = connection.read_csv(path)
    return log.select(
        session=log.who,
        item=log.what,
        feedback=(log.part < skip_below).ifelse(-1, 1),
        timestamp=log["when"],
    )


def test_a_format_of_ones_own(tmp_path):
    path = str(
        write(
            tmp_path / "a.csv",
            "who,what,part,when\nann,7,0.9,2024-05-01 10:00:01\nann,8,0.1,2024-05-01 10:00:00\n",
        )
    )
    events = read_log(path, my_scan)
    assert sorted(zip(events["timestamp"], events["feedback"], strict=True)) == [
        (1714557600, -1),
        (1714557601, 1),
    ]
    assert read_log(path, format=my_scan, skip_below=0.05)["feedback"].tolist() == [1, 1]
    options = {"num_shards": 1, "split": None, "verbose": False}
    prepare(path, tmp_path / "out", format=my_scan, format_options={"skip_below": 0.05}, **options)
    assert load_prepared(tmp_path / "out").sessions().feedback.tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"of format 'my_scan' must be of skip_below. Received"):
        read_log(path, my_scan, skip_over=1)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "`wrong` must return an Ibis table with the columns .*Received: NoneType"),
        ({"session": [1], "item": [2]}, r"must return .*Received: \['session', 'item'\]"),
        ({"session": [1.5], "item": [2], "feedback": [1]}, "`session` must be string or integer"),
        ({"session": [1], "item": [2], "feedback": [True]}, "`feedback` must be integer. Rec"),
        (
            {"session": [1], "item": [2], "feedback": [7], "position": [0]},
            "-2, -1, 0, 1 or 2. Received: 7",
        ),
        ({"session": [1], "item": [2], "feedback": [1]}, "need a column `position` or `timestamp`"),
    ],
)
def test_a_format_of_ones_own_that_returns_something_else(returned, message):
    def wrong(path, connection):
        return returned and connection.create_table("log", pd.DataFrame(returned))

    with pytest.raises(ValueError, match=message):
        read_log("x", wrong)


@pytest.fixture
def device(monkeypatch):
    monkeypatch.setattr(event_columns, "EVENT_COLUMNS", dict(event_columns.EVENT_COLUMNS))
    register_event_column("devices", log_column="device", dtype="int8")


@pytest.mark.parametrize("kind", ["DataFrame", "csv", "parquet"])
def test_registered_columns(tmp_path, device, kind):
    frame = pd.DataFrame({"visit": [1, 1, 2], "track": [7, 8, 9], "dev": [3, 300, 2]})
    path = tmp_path / f"a.{kind}"
    frame.to_parquet(path) if kind == "parquet" else frame.to_csv(path, index=False)
    source = frame if kind == "DataFrame" else path
    with pytest.raises(ValueError, match=r"`dev`: expected a whole number from -128 to 127.*300"):
        read_frame(source, **NAMES, columns={"device": "dev"})
    with pytest.warns(UserWarning, match="1 of 3 events are left out"):
        events = read_frame(source, **NAMES, columns={"device": "dev"}, errors="skip")
    assert events["device"].tolist() == [3, 2] and events["device"].dtype == "int8"
    with pytest.raises(ValueError, match=r"registered columns, which are \['device'\]"):
        read_frame(source, **NAMES, columns={"phone": "dev"})


def test_a_column_of_the_registered_name_is_handed_on(device):
    frame = pd.DataFrame({"visit": [1, 1], "track": [7, 8], "device": [3, np.nan]})
    with pytest.raises(ValueError, match=r"row 1, column `device`: expected.*Received: nothing"):
        read_frame(frame, **NAMES)
    assert read_frame(frame.fillna(1), **NAMES)["device"].tolist() == [3, 1]


def test_two_engines_on_one_connection(tmp_path):
    connection = ibis.duckdb.connect()
    folders = [tmp_path / "a/work", tmp_path / "b/work"]
    engines = [open_engine(connection, Path(folder), None) for folder in folders]
    tables = [engine.store(ibis.memtable({"x": [n]})) for n, engine in enumerate(engines)]
    assert [table.x.to_pyarrow().to_pylist() for table in tables] == [[0], [1]]
    engines[0].close()
    assert tables[1].x.to_pyarrow().to_pylist() == [1]


def test_other_arguments(tmp_path):
    with pytest.raises(ValueError, match="`errors` must be one of 'raise', 'skip'"):
        read_mssd(tmp_path, errors="ignore")
    with pytest.raises(ValueError, match="`format` must be one of 'frame'"):
        read_log(tmp_path, "csv")
    with pytest.raises(ValueError, match=r"with session and item. Received: "):
        read_log(tmp_path, session="a")
