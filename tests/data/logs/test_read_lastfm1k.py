import numpy as np
import pandas as pd
import pytest
from log_files import TRACK, lastfm_line, write

from keras_negrec.data.logs.read_lastfm1k import read_lastfm1k

LOG = (
    lastfm_line("b", "10:25:01", "Can", "Halleluwah", track_id="")
    + lastfm_line("b", "10:05:00")
    + lastfm_line("a", "11:00:20", "Nico", '"Afraid', track_id="")
    + lastfm_line("a", "11:00:00")
)


def test_events_in_the_order_of_time(tmp_path):
    expected = pd.DataFrame(
        {
            "session": ["a_0", "a_0", "b_0", "b_1"],
            "user": ["a", "a", "b", "b"],
            "item": [TRACK, 'Nico\t"Afraid', TRACK, "Can\tHalleluwah"],
            "feedback": np.array([-1, 1, 1, 1], "int8"),
            "position": [0, 1, 0, 0],
            "timestamp": [1241434800, 1241434820, 1241431500, 1241432701],
        }
    )
    for name in ("plays.tsv", "plays.tsv.gz"):
        events = read_lastfm1k(write(tmp_path / name, LOG))
        pd.testing.assert_frame_equal(events, expected, check_dtype=False)


def test_parameters(tmp_path):
    path = write(tmp_path / "plays.tsv", LOG)
    events = read_lastfm1k(path, skip_seconds=20, session_gap=1201)
    assert events["feedback"].tolist() == [1, 1, 1, 1]
    assert events["session"].tolist() == ["a_0", "a_0", "b_0", "b_0"]
    events = read_lastfm1k(path, feedback=lambda plays: (plays.track_id == "").ifelse(0, 2))
    assert events["feedback"].tolist() == [2, 0, 2, 0]


def test_problems(tmp_path):
    path = write(tmp_path / "plays.tsv", LOG + lastfm_line("b", "10:05:00") + "a\tb\n")
    with pytest.raises(ValueError, match=r"plays.tsv, line \d, expected each play once"):
        read_lastfm1k(path)
    with pytest.warns(UserWarning, match=r"2 of 6 events are left out. .*each play once. \(1\)"):
        events = read_lastfm1k(path, errors="skip")
    pd.testing.assert_frame_equal(events, read_lastfm1k(write(path, LOG)))
    with pytest.raises(ValueError, match=r"plays.tsv, line 5, expected 6 fields .*Received: 2 in"):
        read_lastfm1k(write(path, LOG + "a\tb\n"))
