import pytest
from log_files import problems, values, write

from keras_negrec.data.logs.read_sequences import read_sequences
from keras_negrec.data.logs.sequences import scan_sequences

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


def test_user_without_items(tmp_path, connection):
    scan = scan_sequences(
        write(tmp_path / "music.txt", "1 10\n2\n3 10\n"), connection, number_rows=True
    )
    assert problems(scan) == ["expected a user and at least one item. Received: 2"]
    assert values(scan, "row", "session", "item") == [[1, 1, 10], [2, 2, None], [3, 3, 10]]


def test_empty_and_missing_files(tmp_path, connection):
    with pytest.raises(ValueError, match=r"music.txt: there are no events"):
        scan_sequences(write(tmp_path / "music.txt", "\n\n"), connection)
    with pytest.raises(FileNotFoundError, match=r"absent.txt"):
        scan_sequences(tmp_path / "absent.txt", connection)


def test_the_benchmark_file(shared_data, connection):
    path = shared_data / "LastFM.txt"
    found = values(scan_sequences(path, connection), *COLUMNS[:3])
    expected = read_sequences(path)[["session", "position", "item"]]
    assert found == expected.sort_values(["session", "position"]).values.tolist()
    assert len(found) == 52_551
