"""Spark prepares what DuckDB prepares."""

import ibis
import numpy as np
import pandas as pd
import pytest
from log_files import lastfm_line, mssd_log, write
from prepare_log import manifest_of, once, prepare_log, random_log, rows_of, shards_of

from keras_negrec.data import Vocabulary, prepare
from keras_negrec.data.event_columns import EVENT_COLUMNS, register_event_column

pytestmark = once


@pytest.fixture(scope="module")
def spark():
    pyspark = pytest.importorskip("pyspark.sql", reason="PySpark is not installed")
    session = (
        pyspark.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    yield ibis.pyspark.connect(session)
    session.stop()


def assert_equal(tmp_path):
    a, b = tmp_path / "duckdb", tmp_path / "spark"
    vocabulary = Vocabulary.load(a / "vocabulary.json")
    assert vocabulary == Vocabulary.load(b / "vocabulary.json") and len(vocabulary) > 3
    assert rows_of(a) == rows_of(b)
    # Not as sets alone: the shards and the order inside of them agree too.
    for one, other in zip(shards_of(a), shards_of(b), strict=True):
        assert one.equals(other)
    for name in ("counts", "split", "feedback", "parameters"):
        assert manifest_of(a)[name] == manifest_of(b)[name]


@pytest.mark.parametrize(
    "settings",
    [
        {"group_by": "user", "k_core": 9, "max_length": 6, "session_gap": 3},
        *(
            pytest.param(settings, marks=pytest.mark.thorough)
            for settings in (
                {},
                {"min_item_count": 4, "min_session_length": 3, "require_feedback": "both"},
                {"group_by": "user", "split": "time", "long_rows": "newest", "max_length": 4},
            )
        ),
    ],
    ids=str,
)
def test_a_dataframe(tmp_path, spark, settings):
    frame = random_log(1, users=True, times=True, num_sessions=120)
    frame["device"] = np.arange(len(frame)) % 50
    frame = pd.concat([frame, frame.iloc[:20].assign(feedback=2)], ignore_index=True)
    register_event_column("device", dtype="int16")
    try:
        for engine in ("duckdb", spark):
            name = engine if isinstance(engine, str) else "spark"
            prepare_log(frame, tmp_path / name, engine=engine, **settings)
    finally:
        del EVENT_COLUMNS["device"]
    assert_equal(tmp_path)
    assert "device" in rows_of(tmp_path / "spark")[0]


def write_mssd(folder):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        plays = []
        for session in range(30):
            length = rng.integers(10, 21)
            items, heard = rng.integers(0, 40, length), rng.integers(1, 5, length)
            plays += [
                (f"{number}_{session}", position, length, f"t_{item}", mark)
                for position, (item, mark) in enumerate(zip(items, heard, strict=True), 1)
            ]
        packed = ".gz" if number else ""
        write(folder / f"log_{number}_20180715_000000000000.csv{packed}", mssd_log(*plays))
    return folder


def write_lastfm1k(folder):
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for user in range(8):
        for second in np.cumsum(rng.choice([10, 200, 3000], 25)):
            time = f"{pd.to_datetime(second, unit='s'):%H:%M:%S}"
            track = f"{rng.integers(0, 25):08x}-0000-4000-8000-000000000000"
            lines.append(lastfm_line(f"user_{user:06d}", time, track_id=track))
    return write(folder / "userid-timestamp-artid-artname-traid-traname.tsv", "".join(lines))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("write", "settings"),
    [
        (write_mssd, {"format": "mssd"}),
        (write_lastfm1k, {"format": "lastfm1k", "group_by": "user"}),
        (write_lastfm1k, {"format": "lastfm1k", "min_session_length": 2, "split": "session"}),
    ],
)
def test_published_formats(tmp_path, spark, write, settings):
    source = write(tmp_path / "raw")
    for engine in ("duckdb", spark):
        name = engine if isinstance(engine, str) else "spark"
        prepare(source, tmp_path / name, engine=engine, num_shards=2, verbose=False, **settings)
    assert_equal(tmp_path)


@pytest.mark.thorough
def test_the_first_problem_is_named_by_its_line(tmp_path, spark):
    folder = write_mssd(tmp_path / "raw")
    file = min(folder.iterdir())
    lines = file.read_text().splitlines()
    lines[6] = lines[6].replace(",", ",x", 1)
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"log_0.*csv, line 7, column `session_position`: .*'x6'"):
        prepare(folder, tmp_path / "out", format="mssd", engine=spark)
