import pytest
from log_files import MSSD_HEADER, mssd_log, mssd_session, problems, values, write

from keras_negrec.data.logs.mssd import COLUMNS, scan_mssd

IN_SESSION = "a number from 1 to `session_length`. Received: "
# Skipped at marks 1, 2, 3, not at all, not known.
PLAYS = [("s", position, 5, f"t_{position}", position) for position in range(1, 6)]


def test_columns_are_the_published_ones():
    assert list(COLUMNS) == MSSD_HEADER.split(",")
    assert len(COLUMNS) == 21


def test_early_skips_are_negative(tmp_path, connection):
    scan = scan_mssd(write(tmp_path / "log_0.csv", mssd_log(*PLAYS)), connection)
    assert values(scan, "session", "position", "item", "feedback", "session_length", "problem") == [
        ["s", 1, "t_1", -1, 5, None],
        ["s", 2, "t_2", -1, 5, None],
        ["s", 3, "t_3", 1, 5, None],
        ["s", 4, "t_4", 1, 5, None],
        ["s", 5, "t_5", 0, 5, None],
    ]
    types = {name: str(scan[name].type()) for name in ("position", "feedback", "session_length")}
    assert types == {"position": "int64", "feedback": "int8", "session_length": "int64"}


@pytest.mark.parametrize(
    ("rule", "feedback"),
    [("skip_1", [-1, 1, 1, 1, 0]), ("skip_2", [-1, -1, 1, 1, 0]), ("skip_3", [-1, -1, -1, 1, 0])],
)
def test_named_rules(tmp_path, connection, rule, feedback):
    path = write(tmp_path / "log_0.csv", mssd_log(*PLAYS))
    found = values(scan_mssd(path, connection, feedback=rule), "position", "feedback")
    assert [value for _, value in found] == feedback


def test_a_rule_of_ones_own_sees_the_published_columns(tmp_path, connection):
    path = write(tmp_path / "log_0.csv", mssd_log(*PLAYS))

    def rule(log):
        assert set(COLUMNS) <= set(log.columns)
        end = log.hist_user_behavior_reason_end == "fwdbtn"
        return (log.skip_1 & end).ifelse(-2, log.session_position.cast("int8") % 2)

    found = values(scan_mssd(path, connection, feedback=rule), "position", "feedback")
    assert found == [[1, -2], [2, 0], [3, 1], [4, 0], [5, 1]]


def test_a_rule_that_gives_something_else(tmp_path, connection):
    path = write(tmp_path / "log_0.csv", mssd_log(*PLAYS))
    scan = scan_mssd(path, connection, feedback=lambda log: log.session_position)
    assert problems(scan) == [
        f"column `feedback`: expected -2, -1, 0, 1 or 2. Received: {value}" for value in (3, 4, 5)
    ]
    with pytest.raises(TypeError, match=r"must return an integer column.*Received: boolean"):
        scan_mssd(path, connection, feedback=lambda log: log.skip_1)
    with pytest.raises(ValueError, match=r"one of \['skip_1', .*Received: feedback='skip'"):
        scan_mssd(path, connection, feedback="skip")


def test_folder(tmp_path, connection):
    folder = tmp_path / "training [set]"
    folder.mkdir()
    first = write(folder / "log_0.csv", mssd_log(*mssd_session("a")))
    second = write(folder / "log_1.csv.gz", mssd_log(*mssd_session("b"), true="True"))
    write(folder / "tf_0.csv", "track_id,duration\nt_1,3\n")
    write(folder / "README.txt", "none")
    scan = scan_mssd(folder, connection)
    found = values(scan, "file", "session", "position")
    assert [row[:2] for row in found] == [[str(first), "a"]] * 10 + [[str(second), "b"]] * 10
    assert values(scan_mssd([first, second], connection), "file", "session", "position") == found
    # What a row says of its file can be read again.
    assert len(values(scan_mssd(found[-1][0], connection), "session")) == 10


@pytest.mark.parametrize(
    ("change", "column", "expected"),
    [
        (("s,2,5", "s,x,5"), "session_position", "a whole number. Received: 'x'"),
        (("s,2,5", "s,,5"), "session_position", "a whole number. Received: nothing"),
        (("s,2,5", "s,2.5,5"), "session_position", "a whole number. Received: 2.5"),
        (("s,2,5", "s,6,5"), "session_position", f"{IN_SESSION}6"),
        (("s,2,5", "s,0,5"), "session_position", f"{IN_SESSION}0"),
        (("s,2,5", "s,2,x"), "session_length", "a whole number. Received: 'x'"),
        (("s,2,5", ",2,5"), "session_id", "an id. Received: nothing"),
        (("t_2", ""), "track_id_clean", "an id. Received: nothing"),
        (("t_2,false", "t_2,1"), "skip_1", "true or false. Received: 1"),
    ],
)
def test_value_that_is_none(tmp_path, connection, change, column, expected):
    log = mssd_log(*PLAYS)
    assert change[0] in log
    scan = scan_mssd(write(tmp_path / "log_0.csv", log.replace(*change)), connection)
    assert problems(scan) == [f"column `{column}`: expected {expected}"]
    assert len(values(scan, "session")) == 5
    assert values(scan.filter(scan.problem.notnull()), "file") == [[str(tmp_path / "log_0.csv")]]


def test_header_that_differs_from_the_first_files(tmp_path, connection):
    write(tmp_path / "log_0.csv", mssd_log(*PLAYS))
    write(tmp_path / "log_1.csv", mssd_log(*PLAYS).replace("skip_2,skip_3", "skip_3,skip_2"))
    with pytest.raises(ValueError, match=r"log_1.csv, line 1: expected the header .*log_0.csv"):
        scan_mssd(tmp_path, connection)


def test_missing_files(tmp_path, connection):
    with pytest.raises(FileNotFoundError, match=r"Received: .*absent.csv"):
        scan_mssd(tmp_path / "absent.csv", connection)
    write(tmp_path / "notes.txt", "none")
    with pytest.raises(FileNotFoundError, match=r"no file log_\*.csv .*Received: \['notes.txt'\]"):
        scan_mssd(tmp_path, connection)


@pytest.mark.parametrize("kind", ["half", "end", "checksum", "plain"])
def test_damaged_archive(tmp_path, connection, kind):
    packed = write(tmp_path / "log_0.csv.gz", mssd_log(*PLAYS)).read_bytes()
    damaged = {
        "half": packed[: len(packed) // 2],
        "end": packed[:-4],
        "checksum": packed[:-8] + bytes(4) + packed[-4:],  # DuckDB does not look at it.
        "plain": mssd_log(*PLAYS).encode(),
    }
    (tmp_path / "log_1.csv.gz").write_bytes(damaged[kind])
    with pytest.raises(ValueError, match=r"log_1.csv.gz cannot be unpacked. Received: "):
        scan_mssd(tmp_path, connection)
