import pytest
from log_files import mssd_line, mssd_log, mssd_session, values, write

from keras_negrec.data.logs.mssd import scan_mssd
from keras_negrec.data.logs.sequences import scan_sequences
from keras_negrec.data.logs.session_problems import session_problems


def found(tmp_path, connection):
    return values(session_problems(scan_mssd(tmp_path, connection)), "session", "problem")


def test_whole_sessions_have_none(tmp_path, connection):
    plays = mssd_session("a", length=20) + mssd_session("b")
    write(tmp_path / "log_0.csv", mssd_log(*plays))
    assert found(tmp_path, connection) == []


def test_session_in_two_files(tmp_path, connection):
    first, second = tmp_path / "log_0.csv", tmp_path / "log_1.csv"
    write(first, mssd_log(*mssd_session("a"), *mssd_session("b")))
    write(second, mssd_log(*mssd_session("c"), *mssd_session("a")))
    problem = f"expected a session to be in one file. Received: {first} and {second}"
    assert found(tmp_path, connection) == [["a", problem]]


def test_length_that_is_not_the_number_of_rows(tmp_path, connection):
    write(tmp_path / "log_0.csv", mssd_log(*mssd_session("a")[:-1], *mssd_session("b")))
    problem = (
        "column `session_length`: expected the number of the session's rows. Received: 10 for 9"
    )
    assert found(tmp_path, connection) == [["a", problem]]


@pytest.mark.parametrize("length", [9, 11])
def test_length_that_differs_inside_of_a_session(tmp_path, connection, length):
    plays = mssd_session("a")
    plays[2] = ("a", 3, length, "t_3", 3)
    write(tmp_path / "log_0.csv", mssd_log(*plays))
    ((session, problem),) = found(tmp_path, connection)
    assert session == "a"
    assert problem.endswith(f"number of the session's rows. Received: {length} for 10")


def test_event_that_is_there_twice(tmp_path, connection):
    plays = mssd_session("a", length=11)
    plays[10] = plays[9]
    write(tmp_path / "log_0.csv", mssd_log(*plays))
    problem = (
        "column `position`: expected one event at each position of a session. "
        "Received: 10 positions for 11 events"
    )
    assert found(tmp_path, connection) == [["a", problem]]


def test_row_with_a_problem_of_its_own_is_no_second_one(tmp_path, connection):
    log = mssd_log(*mssd_session("a")).replace(
        mssd_line("a", 3, 10, "t_3", 3), mssd_line("a", "x", 10, "t_3", 3)
    )
    write(tmp_path / "log_0.csv", log)
    assert found(tmp_path, connection) == []


def test_without_lengths(tmp_path, connection):
    path = write(tmp_path / "music.txt", "1 10 20 30\n2 10\n1 40\n")
    problems = session_problems(scan_sequences(path, connection))
    assert values(problems, "session", "file", "problem") == [
        [
            1,
            str(path),
            "column `position`: expected one event at each position of a session. "
            "Received: 3 positions for 4 events",
        ]
    ]
