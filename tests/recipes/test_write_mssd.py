import runpy
from pathlib import Path

import pandas as pd
import pytest

from keras_negrec.data import simulate_sessions

BENCHMARKS = Path(__file__).parents[2] / "recipes" / "benchmarks"
write_mssd = runpy.run_path(str(BENCHMARKS / "write_mssd.py"))["write_mssd"]

COLUMNS = """
session_id,session_position,session_length,track_id_clean,skip_1,skip_2,skip_3,not_skipped,
context_switch,no_pause_before_play,short_pause_before_play,long_pause_before_play,
hist_user_behavior_n_seekfwd,hist_user_behavior_n_seekback,hist_user_behavior_is_shuffle,
hour_of_day,date,premium,context_type,hist_user_behavior_reason_start,hist_user_behavior_reason_end
""".replace("\n", "")


@pytest.fixture(scope="module")
def log():
    return simulate_sessions(num_sessions=2400, num_items=3000, num_users=300, seed=2)


@pytest.fixture(scope="module")
def written(log, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mssd")
    counts = write_mssd(log, folder, num_files=3)
    files = [pd.read_csv(path) for path in sorted(folder.glob("*"))]
    return counts, files, pd.concat(files, ignore_index=True)


def test_sessions_are_whole_and_in_one_file(written):
    counts, files, rows = written
    assert counts["files"] == len(files) == 3
    assert all(len(file) > 0.25 * len(rows) for file in files)
    assert sum(file["session_id"].nunique() for file in files) == rows["session_id"].nunique()
    by_session = rows.groupby("session_id", sort=False)
    assert (by_session["session_position"].transform("cumcount") + 1).equals(
        rows["session_position"]
    )
    assert (by_session["session_length"].transform("size") == rows["session_length"]).all()
    assert rows["session_length"].between(10, 20).all()


def test_the_events_are_those_of_the_log(log, written):
    counts, _, rows = written
    events = log.events
    length = events.groupby("session")["position"].transform("size")
    expected = events[(length >= 10) & (events["position"] < 20)].reset_index(drop=True)
    assert len(rows) == len(expected) == counts["rows"]
    assert counts["sessions"] == expected["session"].nunique() == rows["session_id"].nunique()
    assert counts["short_sessions"] == len(log.truth.sessions) - counts["sessions"]
    assert counts["rows_cut"] == ((length > 20) & (events["position"] >= 20)).sum()
    assert (rows["skip_2"] == (expected["feedback"] < 0)).all()
    pairs = pd.DataFrame({"item": expected["item"], "track": rows["track_id_clean"]})
    assert len(pairs.drop_duplicates()) == pairs["item"].nunique() == pairs["track"].nunique()
    starts = pd.DataFrame({"session": expected["session"], "id": rows["session_id"]})
    assert len(starts.drop_duplicates()) == counts["sessions"]
    # Skips are nested.
    assert (rows["skip_2"] | ~rows["skip_1"]).all()
    assert (rows["skip_3"] | ~rows["skip_2"]).all()
    assert (rows["skip_3"] != rows["not_skipped"]).all()
    for earlier, later in (("skip_1", "skip_2"), ("skip_2", "skip_3")):
        assert 0.6 < rows[earlier].sum() / rows[later].sum() < 0.95


def test_a_number_of_rows_in_the_published_layout(log, tmp_path):
    counts = write_mssd(log, tmp_path, num_files=3, num_rows=1000)
    rows = pd.concat([pd.read_csv(path) for path in sorted(tmp_path.glob("*"))])
    assert 1000 <= counts["rows"] == len(rows) < 1020
    assert counts["files"] == len(list(tmp_path.glob("*")))
    last = rows["session_id"] == rows["session_id"].iloc[-1]
    assert len(rows) - last.sum() < 1000
    text = (tmp_path / "log_00000.csv").read_text()
    assert '"' not in text and ",true," in text and ",false," in text
    assert text.splitlines()[0] == COLUMNS
