import pytest
from log_files import TRACK, lastfm_line, problems, values, write

from keras_negrec.data.logs.lastfm1k import scan_lastfm1k

# One user's evening, the newest play first, as published. The seconds between plays are, in time
# order: 29, 30, 1200, 1201, 5.
TIMES = ["23:05:00", "23:04:55", "22:44:54", "22:24:54", "22:24:24", "22:23:55"]
EVENING = "".join(lastfm_line("user_1", time, track_id=TRACK[:-1] + time[-1]) for time in TIMES)


@pytest.fixture
def scan(tmp_path, connection):
    def scan_text(text, name="userid-timestamp-artid-artname-traid-traname.tsv", **options):
        return scan_lastfm1k(write(tmp_path / name, text), connection, **options)

    return scan_text


def test_gaps_make_sessions_and_skips(scan):
    found = values(scan(EVENING), "timestamp", "session", "position", "feedback", "user", "problem")
    start = 1241475835  # 2009-05-04T22:23:55Z
    assert found == [
        [start, "user_1_0", 0, -1, "user_1", None],  # 29 s
        [start + 29, "user_1_0", 1, 1, "user_1", None],  # 30 s is none under 30
        [start + 59, "user_1_0", 2, 1, "user_1", None],  # 1200 s is no longer than 20 min
        [start + 1259, "user_1_0", 3, 1, "user_1", None],  # 1201 s: the session ends
        [start + 2460, "user_1_1", 0, -1, "user_1", None],  # 5 s
        [start + 2465, "user_1_1", 1, 1, "user_1", None],  # the last play of all
    ]


def test_both_times_are_parameters(scan):
    found = values(
        scan(EVENING, skip_seconds=30.5, session_gap=29), "timestamp", "session", "feedback"
    )
    assert [row[1:] for row in found] == [
        ["user_1_0", -1],
        ["user_1_0", -1],
        ["user_1_1", 1],
        ["user_1_2", 1],
        ["user_1_3", -1],
        ["user_1_3", 1],
    ]


def test_item_is_the_track_id_or_else_the_names(scan):
    text = lastfm_line("u", "10:00:00") + lastfm_line("u", "10:01:00", track_id="", artist_id="")
    assert values(scan(text), "timestamp", "item") == [
        [1241431200, TRACK],
        [1241431260, "Can\tVitamin C"],
    ]


@pytest.mark.parametrize(
    ("artist", "track"),
    [('"Weird Al"', 'Eat "It'), ('"', "x"), ("It's", "a\\b, #1"), ("Björk", "Jóga 熊")],
)
def test_quotes_and_such_are_text(scan, artist, track):
    text = lastfm_line("u", "10:00:00", artist, track, track_id="") + lastfm_line("u", "11:00:00")
    found = values(scan(text), "timestamp", "item", "problem")
    assert found == [[1241431200, f"{artist}\t{track}", None], [1241434800, TRACK, None]]


def test_tab_in_a_name_does_no_harm_beside_an_id(scan):
    text = lastfm_line("u", "10:00:00", track="Vitamin\tC")
    assert values(scan(text), "item", "problem") == [[TRACK, None]]


@pytest.mark.parametrize("artist, track", [("Can", "Vitamin\tC"), ("C\tan", "Vitamin C")])
def test_tab_in_a_name_without_an_id(scan, artist, track):
    line = lastfm_line("u", "10:00:00", artist, track, track_id="")
    assert problems(scan(line)) == [
        f"expected 6 fields separated by tabs. Received: 7 in {line.rstrip()}"
    ]


def test_a_play_that_is_there_twice(scan):
    line, later = lastfm_line("u", "10:00:00"), lastfm_line("u", "10:01:00", "Nico")
    scanned = scan(later + line + line)
    assert problems(scanned) == [f"expected each play once. Received: {TRACK} again"]
    # The copy is not the next play, by which the first would have been skipped.
    fine = scanned.filter(scanned.problem.isnull())
    assert values(fine, "position", "feedback") == [[0, 1], [1, 1]]


def test_plays_at_one_time_are_in_the_order_of_their_items(scan):
    text = "".join(lastfm_line("u", "10:00:00", "A", track, track_id="") for track in "bca")
    found = values(scan(text), "position", "item", "feedback", "problem")
    assert found == [[0, "A\ta", -1, None], [1, "A\tb", -1, None], [2, "A\tc", 1, None]]


LIKE = "expected a time like 2009-05-04T23:08:57Z. Received: "


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (lastfm_line("a", "25:00:00"), f"column `timestamp`: {LIKE}'2009-05-04T25:00:00Z'"),
        (lastfm_line("u", "10:00"), f"column `timestamp`: {LIKE}'2009-05-04T10:00Z'"),
        (lastfm_line("", "10:00:00"), "column `user`: expected an id. Received: nothing"),
        (
            lastfm_line("u", "10:00:00", track_id="b17f"),
            "column `track id`: expected a MusicBrainz id or nothing. Received: 'b17f'",
        ),
        (
            lastfm_line("u", "10:00:00", track_id="", track=""),
            "column `track name`: expected a track id, or else the names of artist and track. "
            "Received: 'Can, '",
        ),
        ("u\tx\tCan\n", "expected 6 fields separated by tabs. Received: 3 in u\tx\tCan"),
    ],
)
def test_line_that_cannot_be_understood(scan, line, problem):
    scanned = scan(EVENING + line + EVENING.replace("user_1", "user_2"))
    assert problems(scanned) == [problem]
    assert values(scanned.filter(scanned.problem.notnull()), "session") == [[None]]
    # The other plays are what they would be without it.
    fine = scanned.filter(scanned.problem.isnull())
    columns = ("user", "timestamp", "session", "feedback")
    assert values(fine, *columns) == values(
        scan(EVENING + EVENING.replace("user_1", "user_2")), *columns
    )
