"""The scans give on Spark what they give on DuckDB."""

import shutil

import ibis
import keras
import pandas as pd
import pytest
from log_files import (
    KUAIRAND_HEADER,
    kuairand_line,
    kuairand_parquet,
    lastfm_line,
    mssd_line,
    mssd_log,
    mssd_session,
    values,
    write,
    yambda_events,
)

from keras_negrec.data.logs.formats import find_scan

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="session")
def spark():
    if keras.config.backend() != "tensorflow":
        pytest.skip("no scan depends on the Keras backend: Spark is started on TensorFlow alone")
    pyspark = pytest.importorskip("pyspark", reason="PySpark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, and there is none")
    options = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.session.timeZone": "America/New_York",  # Times must not depend on it.
    }
    builder = pyspark.sql.SparkSession.builder.master("local[1]")
    for name, value in options.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield ibis.pyspark.connect(session)
    session.stop()


@pytest.fixture
def compare(spark, connection):
    """Checks that a scan is the same on both, and returns how many events and problems it has."""

    def run(format, source, **options):
        scan = find_scan(format)
        on_duckdb, on_spark = (scan(source, engine, **options) for engine in (connection, spark))
        columns = [name for name in on_duckdb.columns if name in on_spark.columns]
        assert set(on_duckdb.columns) - set(columns) <= {"row"}
        assert columns == [name for name in on_spark.columns if name in columns]
        frames = [
            table.select(columns).to_pandas().sort_values(columns, ignore_index=True)
            for table in (on_duckdb, on_spark)
        ]
        frames = [frame.astype(object).where(frame.notna(), None) for frame in frames]
        pd.testing.assert_frame_equal(*frames)
        return len(frames[0]), int(frames[0]["problem"].notna().sum())

    return run


def test_mssd(tmp_path, compare):
    folder = tmp_path / "a +b%20c"  # Spark gives paths as URLs.
    folder.mkdir()
    log = mssd_log(*mssd_session("a"), *mssd_session("b", length=12))
    log += mssd_line("c", "x", 2, "t_1", 1) + "\n\n" + "c,2,2,t_1,true\n"
    write(folder / "log_0.csv", "\ufeff" + log.replace("\n", "\r\n"))
    write(folder / "log_1.csv.gz", mssd_log(*mssd_session("a"), true="True", false="False"))
    assert compare("mssd", folder) == (34, 2)
    assert compare("mssd", folder, feedback="skip_3") == (34, 2)


def test_truncated_archive_is_found_before_spark_reads_it(tmp_path, spark):
    path = write(tmp_path / "log_0.csv.gz", mssd_log(*mssd_session("a")))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"log_0.csv.gz cannot be unpacked"):
        find_scan("mssd")(path, spark)


def test_lastfm1k(tmp_path, compare):
    text = "".join(
        lastfm_line(user, time, 'A "b', track, track_id=track_id)
        for user, times in (("u_1", ("10:00:00", "10:00:20", "10:30:00")), ("u_2", ("10:00:00",)))
        for time in times
        for track, track_id in (("x", ""), ("y\tz", "b17f3c9e-0000-4ce0-8f36-1e5aa6a18432"))
    )
    text += lastfm_line("u_1", "10:00:00") * 2 + lastfm_line("u_1", "10:61:00") + "u_1\tx\n"
    assert compare("lastfm1k", write(tmp_path / "plays.tsv", text)) == (12, 4)


def test_yambda(tmp_path, compare):
    events = yambda_events(
        (7, 0, 30, "listen", 49),
        (7, 2, 31, "listen", 50),
        (7, 2, 31, "like", None),
        (7, 400, 32, "dislike", None),
        (5, 2, 31, "unlike", None),
        (5, 3, 31, "listen", None),
    )
    events.to_parquet(tmp_path / "multi_event.parquet")
    assert compare("yambda", tmp_path) == (6, 1)
    events[events["event_type"] == "like"].iloc[:, :4].to_parquet(tmp_path / "likes.parquet")
    assert compare("yambda", [tmp_path / "likes.parquet"]) == (1, 0)


def test_kuairand(tmp_path, compare):
    log = KUAIRAND_HEADER + "\n" + kuairand_line(4, 50, 1649390400123, like=1)
    log += kuairand_line(4, 51, 1649394000123, play="") + kuairand_line(4, "x", 5)
    path = write(tmp_path / "log_a.csv", log)
    assert compare("kuairand", path) == (3, 1)
    assert compare("kuairand", path, session_gap=600) == (3, 1)
    labelled = kuairand_parquet(item_id=pd.array([50, 60, None], "Int32"))
    labelled.to_parquet(tmp_path / "log.parquet")
    assert compare("kuairand", tmp_path / "log.parquet") == (3, 1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ratings.dat", "1::1193::5::978300760\n1::661::3::978302109\n2::x::4::5\n"),
        ("u.data", "1\t1193\t5\t978300760\n1\t661\t3\t978302109\n2\t1\t\t5\n"),
        (
            "r.csv",
            '"userId","movieId","rating","timestamp"\n"1","1193","5.0","7"\n1,661,3.5,8\n1,"6,1,8\n',
        ),
        (
            "a.inter",
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\r\n"
            "1\t1193\t5\t978300760\r\n1\t66x\t3\t9.5\r\n1\t2\tx\t3\r\n",
        ),
    ],
)
def test_movielens(tmp_path, compare, name, text):
    assert compare("movielens", write(tmp_path / name, text)) == (3, 1)


def test_sequences(tmp_path, compare):
    path = write(tmp_path / "music.txt", "1 10  20\t30\n\nann 10\n3\n")
    assert compare("sequences", path) == (5, 1)


def test_text_that_is_not_utf8_is_a_problem_on_both(tmp_path, spark, connection):
    path = write(tmp_path / "plays.csv", "visit,track,nth\n1,Jóga,1\n1,a,2\n".encode("latin-1"))
    for engine in (connection, spark):
        scan = find_scan("frame")(path, engine, session="visit", item="track", position="nth")
        [[fine], [received]] = values(scan, "problem")
        assert received.startswith("expected text in UTF-8") and fine is None


def test_frame(tmp_path, compare):
    frame = pd.DataFrame(
        {
            "visit": ["v1", "v1", None, "v3"],
            "track": [10, 11, 10, 12],
            "verdict": [1.0, -2.0, 0.5, 2.0],
            "nth": [1, 2, 3, 4],
            "at": pd.to_datetime([100_000, 130_500, 900_000, 50_000], unit="ms").astype(
                "datetime64[us]"
            ),
        }
    )
    names = {"session": "visit", "item": "track", "position": "nth", "timestamp": "at"}
    frame.to_parquet(tmp_path / "plays.parquet")
    frame.assign(visit=['a "b", c', "007", "", "x"]).to_csv(tmp_path / "plays.csv")
    for source in (frame, tmp_path / "plays.parquet"):
        assert compare("frame", source, feedback="verdict", **names) == (4, 1)
    assert compare("frame", tmp_path / "plays.csv", feedback="verdict", **names) == (4, 1)
