import os

import pytest
from log_files import problems, values, write

from keras_negrec.data.logs.movielens import read_movielens, scan_movielens

LAYOUTS = {
    "ratings.dat": "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n",
    "u.data": "1\t1193\t5\t978300760\n1\t661\t3\t978302109\n2\t1193\t4\t978298413\n",
    "ratings.csv": (
        "userId,movieId,rating,timestamp\n"
        '1,1193,5.0,978300760\n"1","661",3.5,"978302109"\n2,1193,4.0,978298413\n'
    ),
    "m.inter": (
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\r\n"
        "1\t1193\t5\t978300760\r\n1\t661\t3\t978302109\r\n2\t1193\t4\t978298413\r\n"
    ),
}
EXPECTED = [
    [1, 661, -1, 978302109, None],
    [1, 1193, 1, 978300760, None],
    [2, 1193, 1, 978298413, None],
]
COLUMNS = ("session", "item", "feedback", "timestamp", "problem")


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_events(tmp_path, connection, name, ending):
    scan = scan_movielens(write(tmp_path / (name + ending), LAYOUTS[name]), connection)
    assert values(scan, *COLUMNS) == EXPECTED


def test_rules(tmp_path, connection):
    path = write(tmp_path / "ratings.csv", LAYOUTS["ratings.csv"])

    def feedback(**options):
        scan = scan_movielens(path, connection, number_rows=True, **options)
        return [value for _, value in values(scan, "row", "feedback")]

    assert feedback() == [1, -1, 1]
    assert feedback(positive_from=3.5) == [1, 1, 1]
    assert feedback(positive_from=4.5) == [1, -1, -1]
    assert feedback(feedback="all_positive") == [1, 1, 1]
    assert feedback(feedback=lambda ratings: ratings.rating.round().cast("int64") - 3) == [2, 1, 1]


def test_recbole_ids_are_any_text(tmp_path, connection):
    text = (
        "item_id:token\tgenre:token_seq\tuser_id:token\ttimestamp:float\trating:float\n"
        'Heat "(1995)"\tA B\t1m_1\t978300760.5\t5\nNA\t\t007\t978300761.0\t2\n'
    )
    scan = scan_movielens(write(tmp_path / "ml.inter", text), connection)
    assert values(scan, *COLUMNS) == [
        ["007", "NA", -1, 978300761.0, None],
        ["1m_1", 'Heat "(1995)"', 1, 978300760.5, None],
    ]


@pytest.mark.parametrize(
    ("name", "line", "problem"),
    [
        ("ratings.dat", "1::66", "expected 4 fields separated by '::'. Received: 2 in 1::66"),
        ("ratings.dat", "1::2::x::4", "column `Rating`: expected a number. Received: 'x'"),
        ("u.data", "1\t2\t3\tx", "column `timestamp`: expected a whole number. Received: 'x'"),
        ("u.data", "1\t02\t3\t4", "column `item id`: expected a whole number. Received: 02"),
        ("ratings.csv", "1,2,nan,4", "column `rating`: expected a number. Received: 'nan'"),
        ("ratings.csv", "1,2,3,4,", "expected 4 fields separated by ','. Received: 5 in 1,2,3,4,"),
        (
            "ratings.csv",
            '1,"2,3,4',
            'expected every quote to be closed on its line. Received: 1,"2,3,4',
        ),
        ("m.inter", "1\t\t3\t4", "column `item_id`: expected a whole number. Received: nothing"),
        ("m.inter", "1\t2\t\t4", "column `rating`: expected a number. Received: nothing"),
    ],
)
def test_line_that_is_none(tmp_path, connection, name, line, problem):
    end = "\r\n" if name == "m.inter" else "\n"
    scan = scan_movielens(write(tmp_path / name, LAYOUTS[name] + line + end), connection)
    assert problems(scan) == [problem]
    assert values(scan.filter(scan.problem.isnull()), *COLUMNS) == EXPECTED


def test_none_of_the_layouts(tmp_path, connection):
    with pytest.raises(ValueError, match=r"readme.txt, line 1: expected the ratings of MovieLens"):
        scan_movielens(write(tmp_path / "readme.txt", "SUMMARY\n=====\n"), connection)


def test_several_files(tmp_path, connection):
    for name in ("ratings.dat", "u.data"):
        write(tmp_path / name, LAYOUTS[name])
    with pytest.raises(ValueError, match=r"Expected one file of ratings. Received: .*u.data"):
        scan_movielens(tmp_path, connection)
    (tmp_path / "u.data").unlink()
    assert values(scan_movielens(tmp_path, connection), *COLUMNS) == EXPECTED


def test_the_published_ratings(connection):
    path = os.environ.get("KERAS_NEGREC_ML1M")
    if not path:
        pytest.skip("KERAS_NEGREC_ML1M does not tell where MovieLens 1M is")
    scan = scan_movielens(path, connection, number_rows=True)
    counts = scan.aggregate(
        events=scan.count(),
        users=scan.session.nunique(),
        items=scan.item.nunique(),
        problems=scan.problem.count(),
    )
    assert values(counts, *counts.columns) == [[1_000_209, 6_040, 3_706, 0]]
    events = read_movielens(path)
    assert events["feedback"].value_counts().to_dict() == {1: 575_281, -1: 424_928}
