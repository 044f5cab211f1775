import numpy as np
import pandas as pd
import pytest
from log_files import mssd_line, mssd_log, mssd_session, write

from keras_negrec.data.logs.read_mssd import read_mssd


def test_events_in_the_order_of_the_files(tmp_path):
    write(tmp_path / "log_1.csv", mssd_log(*mssd_session("a", track=50), true="True"))
    write(tmp_path / "log_0.csv.gz", mssd_log(*mssd_session("c"), *mssd_session("b", length=12)))
    expected = pd.DataFrame(
        {
            "session": ["c"] * 10 + ["b"] * 12 + ["a"] * 10,
            "item": [f"t_{n}" for n in [*range(1, 11), *range(1, 13), *range(51, 61)]],
            # Each session's plays are skipped at mark 1, 2, 3 and not at all, in turn.
            "feedback": np.array(
                [-1, -1, 1, 1] * 2 + [-1, -1] + [-1, -1, 1, 1] * 3 + [-1, -1, 1, 1] * 2 + [-1, -1],
                "int8",
            ),
            "position": [*range(1, 11), *range(1, 13), *range(1, 11)],
        }
    )
    pd.testing.assert_frame_equal(read_mssd(tmp_path), expected, check_dtype=False)
    assert read_mssd(tmp_path).dtypes[["feedback", "position"]].tolist() == ["int8", "int64"]


def test_rule(tmp_path):
    path = write(tmp_path / "log_0.csv", mssd_log(*mssd_session("a")))
    assert read_mssd(path, feedback="skip_1")["feedback"].tolist()[:4] == [-1, 1, 1, 1]
    liked = read_mssd(path, feedback=lambda log: log.not_skipped.ifelse(2, 0))
    assert liked["feedback"].tolist()[:4] == [0, 0, 0, 2]


def broken_log(folder):
    """A file with two rows that cannot be understood, in line 4 and 13, and two bad sessions."""
    log = mssd_log(*mssd_session("a"), *mssd_session("b"), *mssd_session("c")[:-1])
    log = log.replace(mssd_line("a", 3, 10, "t_3", 3), mssd_line("a", "third", 10, "t_3", 3))
    log = log.replace(mssd_line("b", 2, 10, "t_2", 2), mssd_line("b", "second", 10, "t_2", 2))
    write(folder / "log_0.csv", log)
    return write(folder / "log_1.csv", mssd_log(*mssd_session("d"), *mssd_session("b")))


def test_first_row_with_a_problem_is_named(tmp_path):
    broken_log(tmp_path)
    with pytest.raises(
        ValueError,
        match=r"In .*log_0.csv, line 4, column `session_position`: expected a whole number. "
        "Received: 'third'",
    ):
        read_mssd(tmp_path)


def test_session_with_a_problem_is_named(tmp_path):
    write(tmp_path / "log_0.csv", mssd_log(*mssd_session("a"), *mssd_session("b")[1:]))
    with pytest.raises(
        ValueError, match=r"In .*log_0.csv, session 'b': column `session_length`.* 10 for 9"
    ):
        read_mssd(tmp_path)
    write(tmp_path / "log_0.csv", mssd_log(*mssd_session("a")))
    write(tmp_path / "log_1.csv", mssd_log(*mssd_session("a")))
    with pytest.raises(ValueError, match=r"session 'a': expected a session to be in one file"):
        read_mssd(tmp_path)


def test_problems_are_left_out_and_counted(tmp_path):
    broken_log(tmp_path)
    with pytest.warns(UserWarning) as warned:
        events = read_mssd(tmp_path, errors="skip")
    # Nine rows of a; all of d; b is in two files and c lacks a row.
    assert events["session"].value_counts().to_dict() == {"a": 9, "d": 10}
    assert events["position"].tolist() == [1, 2, *range(4, 11), *range(1, 11)]
    (warning,) = [one for one in warned if one.category is UserWarning]
    message = str(warning.message)
    assert message.startswith(f"In {tmp_path}: 30 of 49 events are left out. ")
    for kind in (
        "column `session_position`: expected a whole number. (2)",
        "expected a session to be in one file. (1)",
        "column `session_length`: expected the number of the session's rows. (1)",
    ):
        assert kind in message
    assert warning.filename == __file__


def test_nothing_is_said_where_nothing_is_left_out(tmp_path, recwarn):
    path = write(tmp_path / "log_0.csv", mssd_log(*mssd_session("a")))
    assert len(read_mssd(path, errors="skip")) == 10
    assert [w for w in recwarn if w.category is UserWarning] == []


def test_nothing_is_left(tmp_path):
    path = write(tmp_path / "log_0.csv", mssd_log())
    with pytest.raises(ValueError, match=r"log_0.csv: there are no events"):
        read_mssd(path)
    write(path, mssd_log(("a", "x", 1, "t", 1)))
    with (
        pytest.raises(ValueError, match=r"log_0.csv: there are no events"),
        pytest.warns(UserWarning, match="1 of 1 events are left out"),
    ):
        read_mssd(path, errors="skip")


def test_other_ways_with_errors(tmp_path):
    with pytest.raises(ValueError, match=r'"raise" or "skip". Received: errors=\'ignore\''):
        read_mssd(tmp_path, errors="ignore")


def test_text_that_is_not_utf8(tmp_path):
    log = mssd_log(*mssd_session("a")).replace("t_3", "t_ü").encode("latin-1")
    path = write(tmp_path / "log_0.csv", log)
    with pytest.raises(ValueError, match=r"log_0.csv cannot be read. Received: .*not utf-8"):
        read_mssd(path)
