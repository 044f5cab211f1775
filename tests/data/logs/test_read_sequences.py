import gzip

import numpy as np
import pandas as pd
import pytest

from keras_negrec.data.logs.read_sequences import read_sequences


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="music.txt"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write_file


def test_one_user_a_line(write):
    events = read_sequences(write(b"1 30 10 30\n2 20\n5 10 40\n"))
    expected = pd.DataFrame(
        {
            "session": [1, 1, 1, 2, 5, 5],
            "item": [30, 10, 30, 20, 10, 40],
            "feedback": np.ones(6, "int8"),
            "position": [0, 1, 2, 0, 0, 1],
        }
    )
    pd.testing.assert_frame_equal(events, expected)


@pytest.mark.parametrize(
    "content",
    [b"1\t10   20 \r\n2 \t 20\r\n", b"\xef\xbb\xbf1 10 20\n2 20", b"1 10 20\n2 20\n\n \t\n\n"],
    ids=["tabs and CRLF", "byte order mark, no last newline", "blank lines at the end"],
)
def test_dirt_that_does_no_harm(write, content):
    events = read_sequences(write(content))
    assert events["session"].tolist() == [1, 1, 2]
    assert events["item"].tolist() == [10, 20, 20]


def test_packed(write):
    events = read_sequences(write(gzip.compress(b"1 10 20\n"), "music.txt.gz"))
    assert events["item"].tolist() == [10, 20]


def test_users_and_items_are_strings_where_one_is(write):
    events = read_sequences(write("ann 10 20\n7 20 Øl\n".encode()))
    assert events["session"].tolist() == ["ann", "ann", "7", "7"]
    assert events["item"].tolist() == ["10", "20", "20", "Øl"]


@pytest.mark.parametrize("item", ["007", "1" * 19, "1e3", "+1", "1.0"])
def test_what_an_integer_would_not_keep_stays_text(write, item):
    events = read_sequences(write(f"1 10 {item}\n".encode()))
    assert events["session"].tolist() == [1, 1]
    assert events["item"].tolist() == ["10", item]


def test_user_without_items(write):
    with pytest.raises(ValueError, match=r"music.txt, line 2: .*Received user '2' without items"):
        read_sequences(write(b"1 10\n2\n3 10\n"))


def test_blank_line_in_the_middle(write):
    with pytest.raises(ValueError, match=r"music.txt, line 2: .*Received a blank line"):
        read_sequences(write(b"1 10\n  \n3 10\n"))


def test_user_on_two_lines(write):
    with pytest.raises(
        ValueError, match=r"music.txt, line 3: .*Received user '1', who is on line 1"
    ):
        read_sequences(write(b"1 10\n2 10\n1 20\n"))


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_empty_file(write, content):
    with pytest.raises(ValueError, match=r"music.txt: there are no events. Received an empty file"):
        read_sequences(write(content))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Received: .*absent.txt"):
        read_sequences(tmp_path / "absent.txt")


def test_the_benchmark_file(shared_data):
    events = read_sequences(shared_data / "LastFM.txt")
    assert len(events) == 52_551
    assert events["session"].nunique() == 1_090
    assert events["item"].nunique() == 3_646
    assert events["item"].dtype == "int64"
    assert (events["feedback"] == 1).all()
    assert events["item"].tolist()[:10] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert events["position"].tolist()[:10] == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]
