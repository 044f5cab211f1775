"""Spark prepares what DuckDB prepares."""

import ibis
import numpy as np
import pandas as pd
import pytest
from log_files import mssd_log, mssd_session, write
from prepare_log import prepare_log, random_log, shards_of

from keras_negrec.data import load_prepared, prepare
from keras_negrec.data.event_columns import EVENT_COLUMNS, register_event_column

pytestmark = pytest.mark.thorough


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


def assert_engines_agree(folder, spark, run, source, **settings):
    """Prepares a source with both; shards, the order inside of them and all counts agree."""
    for name, engine in (("duckdb", "duckdb"), ("spark", spark)):
        run(source, folder / name, engine=engine, num_shards=2, verbose=False, **settings)
    a, b = folder / "duckdb", folder / "spark"
    assert load_prepared(a).vocabulary == load_prepared(b).vocabulary
    for one, other in zip(shards_of(a), shards_of(b), strict=True):
        assert one.equals(other)
    manifests = [load_prepared(folder).manifest for folder in (a, b)]
    for name in ("counts", "split", "feedback", "parameters"):
        assert manifests[0][name] == manifests[1][name]


THOROUGH = (
    {},
    {"min_item_count": 4, "min_session_length": 3, "require_feedback": "both"},
    {"group_by": "user", "split": "time", "long_rows": "newest", "max_length": 4},
)


@pytest.mark.parametrize(
    "settings",
    [
        {"group_by": "user", "k_core": 9, "max_length": 6, "session_gap": 3},
        *THOROUGH,
    ],
    ids=str,
)
def test_a_dataframe(tmp_path, spark, settings):
    frame = random_log(1, users=True, times=True, num_sessions=120)
    frame["device"] = np.arange(len(frame)) % 50
    frame = pd.concat([frame, frame.iloc[:20].assign(feedback=2)], ignore_index=True)
    register_event_column("device", dtype="int16")
    try:
        assert_engines_agree(tmp_path, spark, prepare_log, frame, **settings)
        assert "device" in load_prepared(tmp_path / "spark").column_names
    finally:
        del EVENT_COLUMNS["device"]


@pytest.fixture
def mssd(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for number, packed in enumerate(("", ".gz")):
        sessions = (
            mssd_session(f"{number}_{n}", length=10 + n % 11, track=7 * n % 40) for n in range(30)
        )
        plays = [play for session in sessions for play in session]
        write(folder / f"log_{number}_20180715_000000000000.csv{packed}", mssd_log(*plays))
    return folder


@pytest.mark.parametrize("settings", [{}, {"min_session_length": 12, "split": "session"}])
def test_files_of_a_published_format(tmp_path, spark, mssd, settings):
    assert_engines_agree(tmp_path, spark, prepare, mssd, format="mssd", **settings)


def test_the_first_problem_is_named_by_its_line(tmp_path, spark, mssd):
    file = min(mssd.iterdir())
    lines = file.read_text().splitlines()
    lines[6] = lines[6].replace(",", ",x", 1)
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"log_0.*csv, line 7, column `session_position`: .*'x6'"):
        prepare(mssd, tmp_path / "out", format="mssd", engine=spark)
