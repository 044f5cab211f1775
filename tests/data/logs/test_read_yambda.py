import numpy as np
import pandas as pd
import pytest
from log_files import yambda_events

from keras_negrec.data.logs.read_yambda import read_yambda

EVENTS = [
    (7, 2, 31, "like", None),
    (7, 2, 31, "listen", 50),
    (7, 0, 30, "listen", 49),
    (7, 243, 32, "dislike", None),
    (5, 100, 30, "unlike", None),
]


def test_events_in_the_order_of_time(tmp_path):
    yambda_events(*EVENTS).to_parquet(tmp_path / "multi_event.parquet")
    expected = pd.DataFrame(
        {
            "session": ["5_0", "7_0", "7_0", "7_0", "7_1"],
            "user": [5, 7, 7, 7, 7],
            "item": [30, 30, 31, 31, 32],
            "feedback": np.array([0, -1, 1, 2, -2], "int8"),
            "position": [0, 0, 1, 2, 0],
            "timestamp": [500, 0, 10, 10, 1215],
        }
    )
    pd.testing.assert_frame_equal(read_yambda(tmp_path), expected, check_dtype=False)
    assert read_yambda(tmp_path)["item"].dtype == "int64"


def test_parameters(tmp_path):
    path = tmp_path / "multi_event.parquet"
    yambda_events(*EVENTS).to_parquet(path)
    events = read_yambda(path, positive_from=49, session_gap=1205)
    assert events["feedback"].tolist() == [0, 1, 1, 2, -2]
    assert events["session"].tolist() == ["5_0"] + ["7_0"] * 4
    events = read_yambda(path, feedback=lambda events: (events.event_type == "like").ifelse(2, 1))
    assert events["feedback"].tolist() == [1, 1, 1, 2, 1]


def test_problems(tmp_path):
    path = tmp_path / "multi_event.parquet"
    yambda_events(*EVENTS, (7, 5, 33, "listen", None)).to_parquet(path)
    with pytest.raises(
        ValueError, match=r"multi_event.parquet, row 5, column `played_ratio_pct`: .*None"
    ):
        read_yambda(path)
    with pytest.warns(UserWarning, match="1 of 6 events are left out"):
        events = read_yambda(path, errors="skip")
    assert events["item"].tolist() == [30, 30, 31, 31, 32]


def test_sessions_span_the_files_of_their_events(tmp_path):
    events = yambda_events(*EVENTS)
    for kind in ("listen", "like", "dislike", "unlike"):
        part = events[events["event_type"] == kind].drop(columns="event_type")
        part.to_parquet(tmp_path / f"{kind}s.parquet")
    apart = read_yambda(tmp_path)
    events.to_parquet(tmp_path / "multi_event.parquet")
    pd.testing.assert_frame_equal(apart, read_yambda(tmp_path))
