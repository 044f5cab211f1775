"""Rows and sessions that cannot be: named, or counted."""

import gzip
import shutil

import pytest
from log_files import MSSD_HEADER, mssd_line
from prepare_log import dropped, items_of, log, once, prepare_log

from keras_negrec.data import prepare

pytestmark = once


def write(file, lines):
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join([MSSD_HEADER, *lines]) + "\n")
    return file


def whole_session(name, tracks="abcdefghij"):
    return [mssd_line(name, n, len(tracks), track, heard=4) for n, track in enumerate(tracks, 1)]


def run(source, folder, **settings):
    return prepare(source, folder, format="mssd", num_shards=1, verbose=False, **settings)


def reasons(manifest):
    return {reason: (events, sessions) for reason, events, sessions, _ in dropped(manifest)}


@pytest.fixture
def raw(tmp_path):
    broken = whole_session("t")
    broken[3] = broken[3].replace("t,4,", "t,four,")
    broken[7] = broken[7].replace("t,8,", "t,eight,")
    write(tmp_path / "raw/log_0_a.csv", whole_session("s"))
    write(tmp_path / "raw/log_1_b.csv", broken)
    return tmp_path / "raw"


def test_the_first_row_with_a_problem_is_named(raw, tmp_path):
    message = r"log_1_b.csv, line 5, column `session_position`.*'four'\s2 rows have a problem"
    with pytest.raises(ValueError, match=message):
        run(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rows_with_a_problem_are_counted_by_kind(raw, tmp_path):
    manifest = run(raw, tmp_path / "out", errors="skip")
    [(kind, counts)] = reasons(manifest).items()
    assert kind.startswith("column `session_position`: expected") and "four" not in kind
    assert counts == (2, 0)
    # The rest of their session stays: the rows that are missing are known.
    assert items_of(tmp_path / "out")["t"] == list("abcefgij")


def test_rows_with_a_problem_alone(tmp_path):
    lines = [line.replace(",1,10", ",one,10") for line in whole_session("s")[:1]]
    write(tmp_path / "raw/log_0.csv", lines)
    with pytest.raises(ValueError, match=r"there are no events. Received 1 rows, 1 of them with a"):
        run(tmp_path / "raw", tmp_path / "out", errors="skip")


@pytest.mark.parametrize("column", ["session", "item", "feedback", "position", "user"])
def test_a_missing_value_of_a_dataframe_is_named(tmp_path, column):
    frame = log(("s", "a+ b- c+ d+ e+"), ("t", "a+")).assign(user="u").astype(object)
    frame.loc[2, column] = None
    for name in ("feedback", "position"):
        frame[name] = frame[name].astype("Int64")
    with pytest.raises(ValueError, match=f"the DataFrame, row 2, column `{column}`"):
        prepare_log(frame, tmp_path / "out")
    manifest = prepare_log(frame, tmp_path / "out", errors="skip")
    assert [count for count, _ in reasons(manifest).values()] == [1]


# --- sessions ---


def test_a_session_that_is_not_whole(tmp_path):
    write(tmp_path / "raw/log_0.csv", whole_session("s") + whole_session("t")[:7])
    message = (
        r"log_0.csv, session 't': .* 1 sessions with another number of rows .*session_length=10"
    )
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "raw", tmp_path / "out")
    manifest = run(tmp_path / "raw", tmp_path / "out", errors="skip")
    assert reasons(manifest) == {"sessions with another number of rows than they say": (7, 1)}
    assert set(items_of(tmp_path / "out")) == {"s"}


def test_two_items_at_one_position(tmp_path):
    lines = whole_session("s") + whole_session("t")
    lines[15] = mssd_line("t", 5, 10, "x", 4)
    write(tmp_path / "raw/log_0.csv", lines)
    with pytest.raises(
        ValueError, match=r"session 't': .* 1 sessions with two items at one position"
    ):
        run(tmp_path / "raw", tmp_path / "out")
    manifest = run(tmp_path / "raw", tmp_path / "out", errors="skip")
    assert reasons(manifest) == {"sessions with two items at one position": (10, 1)}


def test_one_session_in_two_files(tmp_path):
    write(tmp_path / "raw/log_0.csv", whole_session("s") + whole_session("t"))
    write(tmp_path / "raw/log_1.csv", whole_session("t", "klmnopqrst"))
    message = "session 't': there are 1 sessions in several files.*other_file='.*log_1.csv'"
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "raw", tmp_path / "out")
    manifest = run(tmp_path / "raw", tmp_path / "out", errors="skip")
    assert reasons(manifest) == {"sessions in several files": (20, 1)}


def test_a_file_given_twice(tmp_path):
    write(tmp_path / "raw/log_0.csv", whole_session("s"))
    shutil.copy(tmp_path / "raw/log_0.csv", tmp_path / "raw/log_1.csv")
    with pytest.raises(ValueError, match="session 's': there are 1 sessions in several files"):
        run(tmp_path / "raw", tmp_path / "out")


def test_a_line_given_twice_is_a_duplicate(tmp_path):
    lines = whole_session("s")
    write(tmp_path / "raw/log_0.csv", [*lines, lines[4]])
    manifest = run(tmp_path / "raw", tmp_path / "out")
    assert reasons(manifest) == {"duplicate events": (1, 0)}
    assert items_of(tmp_path / "out") == {"s": list("abcdefghij")}


def test_a_session_of_two_users(tmp_path):
    frame = log(("s", "a+ b+ c+"), ("t", "a+ b+ c+")).assign(user=["u", "u", "u", "u", "v", "v"])
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


@pytest.fixture
def with_bad_files(tmp_path):
    """A sound file, a packed one that is cut off, one without a column, and an empty one."""
    raw = tmp_path / "raw"
    sound = write(raw / "log_1.csv", whole_session("s"))
    packed = gzip.compress(write(raw / "t.txt", whole_session("t") * 50).read_bytes())
    (raw / "log_0.csv.gz").write_bytes(packed[: len(packed) // 2])
    lines = sound.read_text().replace("session_position", "place")
    (raw / "log_2.csv").write_text(lines)
    (raw / "log_3.csv").write_text("")
    return raw


def test_files_that_cannot_be_read_are_counted(with_bad_files, tmp_path, capsys):
    source, out = with_bad_files, tmp_path / "out"
    manifest = prepare(source, out, format="mssd", num_shards=1, errors="skip")
    unreadable = manifest["counts"]["unreadable_files"]
    assert sorted(unreadable) == [
        str(source / name) for name in ("log_0.csv.gz", "log_2.csv", "log_3.csv")
    ]
    assert manifest["counts"]["kept"]["events"] == 10
    printed = capsys.readouterr().out
    assert "nothing was dropped" not in printed
    assert all(f"left out: {message}" in printed for message in unreadable.values())
    with pytest.raises(ValueError, match="None of the files can be read"):
        run(source / "log_3.csv", tmp_path / "empty", errors="skip")
