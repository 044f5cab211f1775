"""Rows, sessions and files that cannot be: named, or counted."""

import gzip

import pytest
from log_files import MSSD_HEADER, mssd_line
from prepare_log import dropped, items_of, log, prepare_log

from keras_negrec.data import prepare


def write(folder, *files):
    """Writes the lines of MSSD logs as log_0.csv, log_1.csv and so on."""
    folder.mkdir(exist_ok=True)
    for number, lines in enumerate(files):
        (folder / f"log_{number}.csv").write_text("\n".join([MSSD_HEADER, *lines]) + "\n")
    return folder


def session(name, tracks="abcdefghij", *, length=10):
    return [mssd_line(name, n, length, track, heard=4) for n, track in enumerate(tracks, 1)]


def run(source, folder, **settings):
    return prepare(source, folder, format="mssd", num_shards=1, verbose=False, **settings)


def reasons(manifest):
    return {reason: (events, sessions) for reason, events, sessions, _ in dropped(manifest)}


def test_rows_with_a_problem(tmp_path):
    broken = session("t")
    broken[3] = broken[3].replace("t,4,", "t,four,")
    broken[7] = broken[7].replace("t,8,", "t,eight,")
    raw = write(tmp_path / "raw", session("s"), broken)
    message = r"log_1.csv, line 5, column `session_position`.*'four'\s2 rows have a problem"
    with pytest.raises(ValueError, match=message):
        run(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    manifest = run(raw, tmp_path / "out", errors="skip")
    [(kind, counts)] = reasons(manifest).items()
    assert kind.startswith("column `session_position`: expected") and "four" not in kind
    assert counts == (2, 0)
    # The rest of their session stays: the rows that are missing are known.
    assert items_of(tmp_path / "out")["t"] == list("abcefgij")


def test_rows_with_a_problem_alone(tmp_path):
    write(tmp_path / "raw", [line.replace(",1,10", ",one,10") for line in session("s")[:1]])
    with pytest.raises(ValueError, match=r"there are no events. Received 1 rows, 1 of them with a"):
        run(tmp_path / "raw", tmp_path / "out", errors="skip")


@pytest.mark.parametrize(
    ("files", "message", "found"),
    [
        (
            [session("s") + session("t", "abcdefg")],
            r"log_0.csv, session 't': .* 1 sessions .* number of rows .*session_length=10",
            {"sessions with another number of rows than they say": (7, 1)},
        ),
        (
            [session("s") + session("t")[:-1] + [mssd_line("t", 5, 10, "x", 4)]],
            r"session 't': .* 1 sessions with two items at one position",
            {"sessions with two items at one position": (10, 1)},
        ),
        (
            [session("s") + session("t"), session("t", "klmnopqrst")],
            r"session 't': there are 1 sessions in several files.*other_file='.*log_1.csv'",
            {"sessions in several files": (20, 1)},
        ),
        (  # a file given twice
            [session("t"), session("s") + session("t")],
            r"session 't': there are 1 sessions in several files",
            {"duplicate events": (10, 0), "sessions in several files": (10, 1)},
        ),
    ],
)
def test_sessions_that_contradict_themselves(tmp_path, files, message, found):
    raw = write(tmp_path / "raw", *files)
    with pytest.raises(ValueError, match=message):
        run(raw, tmp_path / "out")
    assert reasons(run(raw, tmp_path / "out", errors="skip")) == found
    assert items_of(tmp_path / "out") == {"s": list("abcdefghij")}


def test_a_line_given_twice_is_a_duplicate(tmp_path):
    manifest = run(write(tmp_path / "raw", session("s") + session("s")[4:5]), tmp_path / "out")
    assert reasons(manifest) == {"duplicate events": (1, 0)}
    assert items_of(tmp_path / "out") == {"s": list("abcdefghij")}


def test_a_session_of_two_users(tmp_path):
    frame = log(("s", "a+ b+ c+"), ("t", "a+ b+ c+")).assign(user=list("uuuuvv"))
    with pytest.raises(ValueError, match="session 't': there are 1 sessions of several users"):
        prepare_log(frame, tmp_path / "out")
    manifest = prepare_log(frame, tmp_path / "out", errors="skip")
    assert reasons(manifest) == {"sessions of several users": (3, 1)}
    # Of users, they are two sessions.
    prepare_log(frame, tmp_path / "users", group_by="user")
    assert items_of(tmp_path / "users") == {"u": list("abca"), "v": list("bc")}


def test_a_session_by_time_may_go_on_in_another_file(tmp_path):
    frame = log(("s", "a+ b+ c+ d+")).rename(columns={"position": "time"})
    frame.iloc[:2].to_csv(tmp_path / "first.csv", index=False)
    frame.iloc[2:].to_csv(tmp_path / "second.csv", index=False)
    options = {"session": "session", "item": "item", "feedback": "feedback", "timestamp": "time"}
    files = [tmp_path / "second.csv", tmp_path / "first.csv"]
    manifest = prepare(files, tmp_path / "out", format_options=options, verbose=False)
    assert items_of(tmp_path / "out") == {"s": list("abcd")}
    assert manifest["counts"]["odd"] == {"sessions in several files": 1}


def test_csv_lines_without_positions_keep_their_order(tmp_path):
    frame = log(*((f"s{i}", "c+ a- b+ a+ d+ c-") for i in range(40))).drop(columns="position")
    frame.to_csv(tmp_path / "plays.csv", index=False)
    options = {"session": "session", "item": "item", "feedback": "feedback"}
    prepare(tmp_path / "plays.csv", tmp_path / "out", format_options=options, verbose=False)
    assert items_of(tmp_path / "out") == {f"s{i}": list("cabadc") for i in range(40)}


def test_files_that_cannot_be_read_are_counted(tmp_path, capsys):
    """A packed file that is cut off, one without a column, an empty one, and a sound one."""
    raw = write(tmp_path / "raw", session("t") * 50, session("s"), session("s"))
    text = (raw / "log_0.csv").read_bytes()
    (raw / "log_0.csv").unlink()
    (raw / "log_0.csv.gz").write_bytes(gzip.compress(text)[:200])
    (raw / "log_2.csv").write_text((raw / "log_2.csv").read_text().replace("_position", "_place"))
    (raw / "log_3.csv").touch()
    manifest = prepare(raw, tmp_path / "out", format="mssd", num_shards=1, errors="skip")
    unreadable = manifest["counts"]["unreadable_files"]
    names = ("log_0.csv.gz", "log_2.csv", "log_3.csv")
    assert sorted(unreadable) == [str(raw / name) for name in names]
    assert manifest["counts"]["kept"]["events"] == 10
    printed = " ".join(capsys.readouterr().out.split())
    assert "Nothing was dropped" not in printed
    assert all(f"Left out: {message}" in printed for message in unreadable.values())
    with pytest.raises(ValueError, match="None of the files can be read"):
        run(raw / "log_3.csv", tmp_path / "empty", errors="skip")
