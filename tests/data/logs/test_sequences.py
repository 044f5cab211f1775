import pytest
from log_files import values, write

from keras_negrec.data.logs.sequences import read_sequences, scan_sequences

COLUMNS = ("session", "position", "item", "feedback", "problem")


@pytest.mark.parametrize(
    "text",
    [
        "1 30 10 30\n2 20\n",
        "1\t30   10 30 \r\n2 \t 20\r\n",
        "\ufeff1 30 10 30\n\n2 20",
        " 1 30 10 30\n2 20\n \n".replace("\n \n", "\n\n\n"),
    ],
)
@pytest.mark.parametrize("name", ["music.txt", "music.txt.gz"])
def test_one_user_a_line(tmp_path, connection, text, name):
    scan = scan_sequences(write(tmp_path / name, text), connection)
    assert values(scan, *COLUMNS) == [
        [1, 0, 30, 1, None],
        [1, 1, 10, 1, None],
        [1, 2, 30, 1, None],
        [2, 0, 20, 1, None],
    ]
    types = {name: str(scan[name].type()) for name in ("feedback", "position")}
    assert types == {"feedback": "int8", "position": "int64"}


def test_ids_are_strings_where_one_is(tmp_path, connection):
    path = write(tmp_path / "music.txt", "ann 10 20\n7 20\n")
    assert values(scan_sequences(path, connection), *COLUMNS) == [
        ["7", 0, 20, 1, None],
        ["ann", 0, 10, 1, None],
        ["ann", 1, 20, 1, None],
    ]
    write(path, "1 10 007\n")
    assert values(scan_sequences(path, connection), "session", "item") == [[1, "007"], [1, "10"]]


def test_the_benchmark_file(shared_data):
    path = shared_data / "LastFM.txt"
    events = read_sequences(path)
    assert len(events) == 52_551 and (events["feedback"] == 1).all()
    assert events["session"].nunique() == 1_090 and events["item"].nunique() == 3_646
    lines = [line.split() for line in path.read_text().splitlines()]
    assert events["session"].tolist() == [int(u) for u, *items in lines for _ in items]
    assert events["item"].tolist() == [int(item) for _, *items in lines for item in items]
