"""Log files in the layouts of their publishers, and what scans make of them."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd

MSSD_HEADER = (
    "session_id,session_position,session_length,track_id_clean,skip_1,skip_2,skip_3,not_skipped,"
    "context_switch,no_pause_before_play,short_pause_before_play,long_pause_before_play,"
    "hist_user_behavior_n_seekfwd,hist_user_behavior_n_seekback,hist_user_behavior_is_shuffle,"
    "hour_of_day,date,premium,context_type,hist_user_behavior_reason_start,"
    "hist_user_behavior_reason_end"
)
KUAIRAND_HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab"
)
RATINGS = "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n"
ARTIST = "a3cb23fc-acd3-4ce0-8f36-1e5aa6a18432"
TRACK = "b17f3c9e-0000-4ce0-8f36-1e5aa6a18432"


def write(path, text):
    """Writes text, packed where the name ends in .gz, and returns the path."""
    content = text if isinstance(text, bytes) else text.encode()
    Path(path).write_bytes(gzip.compress(content) if str(path).endswith(".gz") else content)
    return path


def mssd_line(session, position, length, track, heard, *, true="true", false="false"):
    """A play that was skipped at `heard` = 1, 2, 3, or not at all (4), or is not known (5).

    Who skips early has skipped by the later marks too.
    """
    flags = [heard <= 1, heard <= 2, heard <= 3, heard == 4]
    flags = ",".join(true if flag else false for flag in flags)
    rest = f"0,0,0,0,0,0,{true},16,2018-07-15,{false},editorial_playlist,trackdone,fwdbtn"
    return f"{session},{position},{length},{track},{flags},{rest}"


def mssd_log(*plays, **words):
    """A log of the plays; each is the arguments of `mssd_line`."""
    return "\n".join([MSSD_HEADER, *(mssd_line(*play, **words) for play in plays)]) + "\n"


def mssd_session(session, *, length=10, track=0):
    """Plays of a whole session: the marks 1 to 4 in turn."""
    return [
        (session, position, length, f"t_{track + position}", (position - 1) % 4 + 1)
        for position in range(1, length + 1)
    ]


def lastfm_line(user, time, artist="Can", track="Vitamin C", *, artist_id=ARTIST, track_id=TRACK):
    return f"{user}\t2009-05-04T{time}Z\t{artist_id}\t{artist}\t{track_id}\t{track}\n"


def yambda_events(*rows):
    """Rows of uid, timestamp, item_id, event_type, played_ratio_pct, with the published dtypes."""
    frame = pd.DataFrame(
        rows, columns=["uid", "timestamp", "item_id", "event_type", "played_ratio_pct"]
    )
    return pd.DataFrame(
        {
            "uid": frame["uid"].astype("uint32"),
            "timestamp": frame["timestamp"].astype("uint32"),
            "item_id": frame["item_id"].astype("uint32"),
            "is_organic": np.ones(len(frame), "uint8"),
            "played_ratio_pct": frame["played_ratio_pct"].astype("UInt16"),
            "track_length_seconds": pd.array([200] * len(frame), "UInt32"),
            "event_type": pd.Categorical(frame["event_type"]),
        }
    )


def kuairand_line(user, video, time_ms, *, like=0, hate=0, long_view=0, play=1000, duration=8000):
    return (
        f"{user},{video},20220408,1200,{time_ms},1,{like},0,0,0,{hate},{long_view},{play},"
        f"{duration},0,0,0,0,1\n"
    )


def kuairand_parquet(**columns):
    """A labelled Parquet as a frame, with some of its columns replaced."""
    frame = pd.DataFrame(
        {
            "user_id": pd.array([4, 4, 9], "Int32"),
            "position": pd.array([0, 1, 0], "Int16"),
            "item_id": pd.array([50, 60, 70], "Int32"),
            "long_view": pd.array([0, 1, 1], "Int8"),
            "is_like": pd.array([None, 1, 0], "Int8"),
            "is_hate": pd.array([None, 0, 1], "Int8"),
            "split": pd.Categorical(["history", "test", "test"]),
        }
    )
    return frame.assign(**columns)


def values(table, *columns):
    """The rows of a scan as sorted lists of the given columns, None where a value is missing."""
    rows = table.select(*columns).to_pyarrow().to_pylist()
    return sorted(
        ([row[column] for column in columns] for row in rows),
        key=lambda row: [(value is not None, value) for value in row],
    )


def problems(table):
    """The problems of a scan, sorted."""
    return [problem for (problem,) in values(table, "problem") if problem is not None]
