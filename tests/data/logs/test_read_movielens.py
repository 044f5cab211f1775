import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keras_negrec.data.logs.read_movielens import read_movielens

RATINGS_DAT = b"1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n"
U_DATA = b"1\t1193\t5\t978300760\n1\t661\t3\t978302109\n2\t1193\t4\t978298413\n"
RATINGS_CSV = (
    b"userId,movieId,rating,timestamp\n"
    b"1,1193,5.0,978300760\n1,661,3.5,978302109\n2,1193,4.0,978298413\n"
)
INTER = (
    b"user_id:token\titem_id:token\trating:float\ttimestamp:float\r\n"
    b"1\t1193\t5\t978300760\r\n1\t661\t3\t978302109\r\n2\t1193\t4\t978298413\r\n"
)
LAYOUTS = {
    "ratings.dat": RATINGS_DAT,
    "u.data": U_DATA,
    "ratings.csv": RATINGS_CSV,
    "ml-1m.inter": INTER,
}
EXPECTED = pd.DataFrame(
    {
        "session": [1, 1, 2],
        "item": [1193, 661, 1193],
        "feedback": np.array([1, -1, 1], "int8"),
        "timestamp": [978300760, 978302109, 978298413],
    }
)


@pytest.fixture
def write(tmp_path):
    def write_file(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write_file


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_events(write, name):
    pd.testing.assert_frame_equal(read_movielens(write(name, LAYOUTS[name])), EXPECTED)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(
    "dirt",
    [
        lambda content: content.rstrip(b"\n"),
        lambda content: content + b"\n\r\n\n",
        lambda content: content.replace(b"\r\n", b"\n"),
        lambda content: content.replace(b"\r", b"").replace(b"\n", b"\r\n"),
        lambda content: b"\xef\xbb\xbf" + content,
    ],
    ids=["no last newline", "blank lines at the end", "LF", "CRLF", "byte order mark"],
)
def test_dirt_that_does_no_harm(write, name, dirt):
    pd.testing.assert_frame_equal(read_movielens(write(name, dirt(LAYOUTS[name]))), EXPECTED)


@pytest.mark.parametrize("name", LAYOUTS)
def test_packed(write, name):
    path = write(name + ".gz", gzip.compress(LAYOUTS[name]))
    pd.testing.assert_frame_equal(read_movielens(str(path)), EXPECTED)


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_is_known_by_its_first_line_under_any_name(write, name):
    pd.testing.assert_frame_equal(read_movielens(write("ratings", LAYOUTS[name])), EXPECTED)
    pd.testing.assert_frame_equal(read_movielens(write("x.dat", LAYOUTS[name])), EXPECTED)


def test_where_positive_begins(write):
    path = write("ratings.csv", RATINGS_CSV)
    assert read_movielens(path)["feedback"].tolist() == [1, -1, 1]
    assert read_movielens(path, positive_from=3.5)["feedback"].tolist() == [1, 1, 1]
    assert read_movielens(path, positive_from=4.5)["feedback"].tolist() == [1, -1, -1]


def test_every_rating_positive(write):
    path = write("ratings.csv", RATINGS_CSV)
    assert read_movielens(path, all_positive=True)["feedback"].tolist() == [1, 1, 1]


def test_recbole_tokens_are_any_text(write):
    content = (
        "item_id:token\tgenre:token_seq\tuser_id:token\ttimestamp:float\trating:float\n"
        'Heat "(1995)"\tA B\t1m_1\t978300760.0\t5\n'
        "NA\t\t007\t978300761.0\t2\n"
        "Die Blechtrommel; Günter, Øl\tC\t7\t978300762.0\t4\n"
        "nan\tC\t7\t978300763.0\t4\n"
    )
    for encoding in ("utf-8", "latin-1"):
        events = read_movielens(write("ml.inter", content.encode(encoding)))
        assert events["item"].tolist() == [
            'Heat "(1995)"',
            "NA",
            "Die Blechtrommel; Günter, Øl",
            "nan",
        ]
        assert events["session"].tolist() == ["1m_1", "007", "7", "7"]
        assert events["feedback"].tolist() == [1, -1, 1, 1]
        assert events["timestamp"].tolist() == [978300760, 978300761, 978300762, 978300763]
        assert events["timestamp"].dtype == "int64"


def test_recbole_columns_without_types(write):
    content = INTER.replace(b":token", b"").replace(b":float", b"")
    pd.testing.assert_frame_equal(read_movielens(write("ml.inter", content)), EXPECTED)


def test_fractions_of_seconds_are_kept(write):
    events = read_movielens(write("u.inter", INTER.replace(b"978302109", b"978302109.25")))
    assert events["timestamp"].tolist() == [978300760.0, 978302109.25, 978298413.0]


def test_quoted_csv(write):
    content = b'"userId","movieId","rating","timestamp"\n"1","1193","5.0","978300760"\n'
    pd.testing.assert_frame_equal(read_movielens(write("r.csv", content)), EXPECTED[:1])


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Received: .*absent.dat"):
        read_movielens(tmp_path / "absent.dat")
    with pytest.raises(FileNotFoundError):
        read_movielens(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n\r\n", b"  \n", b"\xef\xbb\xbf"])
def test_empty_file(write, content):
    with pytest.raises(ValueError, match=r"ratings.dat: there are no events. Received an empty"):
        read_movielens(write("ratings.dat", content))


@pytest.mark.parametrize("name", ["ratings.csv", "ml-1m.inter"])
def test_header_alone(write, name):
    with pytest.raises(ValueError, match=f"{name}: there are no events"):
        read_movielens(write(name, LAYOUTS[name].split(b"\n")[0]))


def test_none_of_the_layouts(write):
    with pytest.raises(ValueError, match=r"readme.txt, line 1.*`u.data`.*Received: 'SUMMARY'"):
        read_movielens(write("readme.txt", b"SUMMARY\n=======\n"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "ratings.dat",
            RATINGS_DAT.replace(b"1::661::3", b"1::661"),
            "line 2: expected 4 fields separated by '::'. Received 3: '1::661::978302109'",
        ),
        ("ratings.dat", RATINGS_DAT + b"2::661::3::1::9", "line 4: .* Received 5: '2::661::3::1::"),
        ("ratings.dat", RATINGS_DAT + b"2::66", "line 4: .* Received 2: '2::66'"),
        ("movies.dat", b"1::Toy Story (1995)::Comedy\n", "line 1: expected 4 fields"),
        ("ratings.dat", b"1:1193:5:978300760\n", "line 1: expected 4 fields .* Received 1"),
        ("u.data", U_DATA + b"5\t6\t7\n", r"line 4: expected 4 fields separated by '\\t'"),
        ("ratings.csv", RATINGS_CSV + b"5,6,7\n", "line 5: expected 4 fields separated by ','"),
        ("a.inter", INTER + b"5\t6\t7\r\n", r"line 5: expected 4 fields separated by '\\t'"),
        ("ratings.csv", RATINGS_CSV + b'5,"6,7,8\n', "line 5: expected 4 fields"),
        ("ratings.csv", RATINGS_CSV + b'5,6,7,"8\n', "line 5: a value holds a line break or a q"),
    ],
)
def test_wrong_number_of_fields(write, name, content, message):
    with pytest.raises(ValueError, match=f"{name}, {message}"):
        read_movielens(write(name, content))


def test_line_number_far_into_the_file(write):
    content = RATINGS_DAT * 100_000
    with pytest.raises(ValueError, match="line 300001: expected 4 fields"):
        read_movielens(write("ratings.dat", content + b"7::8\n" + content))


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("wrong", ["five", "nan", "inf", ""])
def test_rating_that_is_no_number(write, name, wrong):
    for rating in (b"3.5", b"3"):
        good = LAYOUTS[name]
        marked = good.replace(b"661" + b"::" + rating, b"661::" + wrong.encode())
        for separator in (b"\t", b","):
            marked = marked.replace(
                b"661" + separator + rating + separator,
                b"661" + separator + wrong.encode() + separator,
            )
        if marked != good:
            break
    line = 2 if name in ("ratings.dat", "u.data") else 3
    column = "Rating" if name == "ratings.dat" else "rating"
    with pytest.raises(
        ValueError, match=f"{name}, column '{column}', line {line}: expected a number.*'{wrong}'"
    ):
        read_movielens(write(name, marked))


@pytest.mark.parametrize(
    ("name", "column"), [("ratings.dat", "Timestamp"), ("u.data", "timestamp")]
)
def test_timestamp_that_is_no_number(write, name, column):
    content = LAYOUTS[name].replace(b"978298413", b"2000-12-31")
    with pytest.raises(
        ValueError, match=f"{name}, column '{column}', line 3: .* Received: '2000-12-31'"
    ):
        read_movielens(write(name, content))


@pytest.mark.parametrize("wrong", [b"66x", b"", b"6.5", b"0661", b"9" * 19])
def test_id_that_is_no_integer(write, wrong):
    content = RATINGS_CSV.replace(b"661", wrong)
    with pytest.raises(
        ValueError, match=f"r.csv, column 'movieId', line 3: .* Received: '{wrong.decode()}'"
    ):
        read_movielens(write("r.csv", content))


def test_recbole_token_that_is_empty(write):
    content = INTER.replace(b"\t661", b"\t")
    with pytest.raises(ValueError, match=r"a.inter, column 'item_id', line 3: expected an id"):
        read_movielens(write("a.inter", content))


@pytest.mark.parametrize("name", LAYOUTS)
def test_blank_line_in_the_middle(write, name):
    lines = LAYOUTS[name].split(b"\n")
    lines.insert(2, b"")
    with pytest.raises(ValueError, match=f"{name}, line 3: .* Received a blank line"):
        read_movielens(write(name, b"\n".join(lines)))


@pytest.mark.parametrize("column", ["userId", "movieId", "rating", "timestamp"])
def test_missing_column_of_ratings_csv(write, column):
    content = RATINGS_CSV.replace(column.encode(), b"other")
    with pytest.raises(ValueError, match=f"ratings.csv: column '{column}' is missing.*'other'"):
        read_movielens(write("ratings.csv", content))


@pytest.mark.parametrize("column", ["user_id", "item_id", "rating", "timestamp"])
def test_missing_column_of_recbole(write, column):
    content = INTER.replace(column.encode(), b"other")
    with pytest.raises(ValueError, match=f"a.inter: column '{column}' is missing.*'other'"):
        read_movielens(write("a.inter", content))


def test_column_that_is_there_twice(write):
    content = INTER.replace(b"timestamp:float", b"rating:float")
    with pytest.raises(ValueError, match=r"a.inter: column 'rating' must be there once"):
        read_movielens(write("a.inter", content))


def test_truncated_archive(write):
    packed = gzip.compress(RATINGS_DAT)
    for content in (packed[:-9], RATINGS_DAT):
        with pytest.raises(ValueError, match=r"ratings.dat.gz cannot be unpacked. Received: "):
            read_movielens(write("ratings.dat.gz", content))


@settings(deadline=None)
@given(
    first=st.sampled_from([content.split(b"\n")[0] + b"\n" for content in LAYOUTS.values()]),
    rest=st.text(alphabet='1\t:,.\n\r" a\u00e9-', max_size=60),
)
@example(first=RATINGS_DAT, rest="\r1::2::3::4")
def test_whatever_stands_there_is_read_or_refused(tmp_path_factory, first, rest):
    path = tmp_path_factory.mktemp("ratings") / "ratings"
    path.write_bytes(first + rest.encode())
    try:
        events = read_movielens(path)
    except ValueError as error:
        assert str(path) in str(error)
        assert "Received" in str(error) or "there are no events" in str(error)
    else:
        num_lines = len((first + rest.encode()).rstrip().split(b"\n"))
        has_header = first[:1] != b"1"
        assert len(events) == num_lines - has_header
