"""Whatever the door, the same log gives the same events, counts and errors."""

import contextlib
import functools
import io
import itertools
import json
import re
import shlex
import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from log_files import (
    KUAIRAND_HEADER,
    MSSD_HEADER,
    RATINGS,
    TRACK,
    kuairand_line,
    kuairand_parquet,
    lastfm_line,
    mssd_line,
    mssd_log,
    mssd_session,
    write,
    yambda_events,
)
from thorough import THOROUGH

import keras_negrec as kn
from keras_negrec.data.__main__ import main as command

START = 1_700_000_000
LAYOUTS = {
    "ratings.dat": ("", "::"),
    "u.data": ("", "\t"),
    "ratings.csv": ("userId,movieId,rating,timestamp", ","),
    "ml.inter": ("user_id:token\titem_id:token\trating:float\ttimestamp:float", "\t"),
}
FEEDBACK = {
    "numbers": ("verdict", [1, -1, 0, 2, -2]),
    "booleans": ({"column": "verdict", "values": {True: -1, False: 1}}, [True, False]),
    "words": ({"column": "verdict", "values": {"like": 2, "skip": -1, None: 0}}, ["like", "skip"]),
    "function": (lambda log: (log.seconds >= 30).ifelse(1, -1), [1]),
    "bare booleans": ("verdict", [True, False]),
}
ISO_TIMES = {
    "dates": lambda second: pd.Timestamp(second, unit="s"),
    "zones": lambda second: pd.Timestamp(second, unit="s", tz="Asia/Tokyo"),
    "text": lambda second: pd.Timestamp(second, unit="s").isoformat(),
    "seconds": lambda second: second,
    "microseconds": lambda second: pd.Timestamp(second * 7, unit="us"),
}
BAD_CELLS = {
    "session": [None],
    "item": [None],
    "verdict": [None, "x", 7, 0.5],
    "at": [None, "noon", -1, "2024-13-01", np.inf],
    "nth": [None, np.inf, "third", 2.5],
}
ERRORS = st.sampled_from(["skip", "raise"])
DIRT = st.sets(st.sampled_from(["bom", "crlf", "cr", "mixed", "blank", "byte", "again"]))
BAD_FIELDS = ["", "x", "2.5", "-1", "inf", "007", "2009-13-01T00:00:00Z"]


class Log(NamedTuple):
    """A log with dirt, and how it becomes files.

    Args:
        format: what `read_log` and `prepare` call it.
        options: what its reader takes, beside `errors`.
        sources: each kind of source and a function that writes it into a folder and returns it.
        of_text: how many problems it has as text alone.
    """

    format: str
    options: dict[str, Any]
    sources: dict[str, Any]
    errors: str = "skip"
    of_text: int = 0


def text_file(folder, name, chunks, dirt, header=""):
    """Writes chunks of lines, with what a file may have that does no harm or is a bad line."""
    lines = [header] * bool(header) + [
        line.removesuffix("\n") for chunk in chunks for line in chunk
    ]
    end = "\r\n" if "crlf" in dirt else "\r" if "cr" in dirt else "\n"
    text = end.join(lines) + end
    if "mixed" in dirt:
        text = text.replace(end, "\r", 1).replace(end, "\n", 1)
    content = b"\xef\xbb\xbf" * ("bom" in dirt) + text.encode("utf-8", "surrogateescape")
    folder.mkdir(exist_ok=True)
    return write(folder / name, content)


@st.composite
def text_log(draw, format, options, name, delimiter, chunks, header="", can_split=True):
    """A log of lines; those of a chunk stay in one file."""
    chunks = [[*chunk] for chunk in chunks]
    dirt = draw(DIRT)
    for field in draw(st.lists(st.sampled_from(BAD_FIELDS), max_size=2, unique=True)):
        chunk = draw(st.sampled_from(chunks))
        line = draw(st.integers(0, len(chunk) - 1))
        fields = chunk[line].split(delimiter)
        fields[draw(st.integers(0, min(len(fields), 8) - 1))] = field
        chunk[line] = delimiter.join(fields)
    lines = {"blank": "", "byte": "J\udce9ga", "again": header, "twice": chunks[0][0]}
    for what, line in lines.items():
        if what in dirt or (what == "twice" and draw(st.integers(0, 3)) == 0):
            chunk = chunks[0] if what == "twice" else draw(st.sampled_from(chunks))
            chunk.insert(draw(st.integers(0, len(chunk))), line)
    cut = draw(st.integers(1, len(chunks)))
    first, second = name.format(0), name.format(1)

    def halves(folder):
        text_file(folder / "halves", first, chunks[:cut], dirt, header)
        if cut < len(chunks):
            text_file(folder / "halves", second, chunks[cut:], dirt - {"bom"}, header)
        return folder / "halves"

    sources = {
        "file": lambda folder: text_file(folder, first, chunks, dirt, header),
        "packed": lambda folder: text_file(folder, f"{first}.gz", chunks, dirt, header),
    }
    if can_split:
        sources["files, elsewhere"] = halves
    else:
        sources["folder, elsewhere"] = lambda folder: (
            text_file(folder / "one", first, chunks, dirt, header).parent
        )
    return Log(format, options, sources, draw(ERRORS))


def some(strategy, max_size=5):
    return st.lists(strategy, min_size=1, max_size=max_size)


@st.composite
def mssd_logs(draw):
    sessions = enumerate(draw(some(some(st.integers(1, 5), 3), 3)))
    chunks = [
        [mssd_line(f"s{n}", i, len(marks), f"t_{i}", mark) for i, mark in enumerate(marks, 1)]
        for n, marks in sessions
    ]
    options = {"feedback": draw(st.sampled_from(["skip_1", "skip_2", "skip_3"]))}
    return draw(text_log("mssd", options, "log_{}.csv", ",", chunks, MSSD_HEADER))


@st.composite
def lastfm1k_logs(draw):
    times = st.sampled_from(["10:00:00", "10:00:20", "10:00:50", "10:31:00"])
    lines = st.builds(
        lastfm_line,
        st.sampled_from(["ann", "bob"]),
        times,
        st.sampled_from(["Can", 'A "b"', "Jóga"]),
        st.sampled_from(["x", "y\tz"]),
        track_id=st.sampled_from([TRACK, ""]),
    )
    chunks = [[line] for line in draw(some(lines))]
    options = draw(st.sampled_from([{}, {"skip_seconds": 20}, {"session_gap": 25}]))
    return draw(text_log("lastfm1k", options, "userid-timestamp-{}.tsv", "\t", chunks))


@st.composite
def kuairand_logs(draw):
    labels = draw(some(st.tuples(*[st.integers(0, 1)] * 3)))
    if draw(st.integers(0, 3)) == 0:
        frame = kuairand_parquet().iloc[: len(labels)]
        column = draw(st.sampled_from([*frame.columns]))
        frame.loc[draw(st.integers(0, len(frame) - 1)), column] = None
        return Log("kuairand", {}, parquet_sources(frame, "log.parquet"), draw(ERRORS))
    chunks = [
        [
            kuairand_line(
                n % 2, 50 - n, (START + n // 3 * 300) * 1000 + 1, like=a, hate=b, long_view=c
            )
        ]
        for n, (a, b, c) in enumerate(labels)
    ]
    options = {"session_gap": draw(st.sampled_from([None, 500, 700]))}
    return draw(text_log("kuairand", options, "log_{}.csv", ",", chunks, KUAIRAND_HEADER))


@st.composite
def movielens_logs(draw):
    name = draw(st.sampled_from(sorted(LAYOUTS)))
    header, delimiter = LAYOUTS[name]
    ratings = enumerate(draw(some(st.tuples(st.integers(1, 3), st.integers(1, 5)))))
    chunks = [
        [delimiter.join(map(str, (u, 17 - n, rating, START - n // 3)))]
        for n, (u, rating) in ratings
    ]
    options = draw(st.sampled_from([{}, {"positive_from": 2}, {"feedback": "all_positive"}]))
    log = text_log("movielens", options, name, delimiter, chunks, header, can_split=False)
    return draw(log)


@st.composite
def sequences_logs(draw):
    ids = st.sampled_from(["1", "2", "30", "ann", "\u00d8l"])
    users = draw(some(some(ids, 3), 4))
    chunks = [[" ".join([f"{n}", *items])] for n, items in enumerate(users)]
    return draw(text_log("sequences", {}, "music_{}.txt", " ", chunks))


def parquet_sources(frame, name):
    def stored(folder):
        frame.to_parquet(folder / name)
        return folder / name

    return {"file": stored, "list, elsewhere": lambda folder: [stored(folder)]}


@st.composite
def yambda_logs(draw):
    kinds = ["listen", "like", "unlike", "dislike", "undislike"]
    rows = some(
        st.tuples(
            st.integers(1, 2),
            st.sampled_from([0, 1, 2, 300]),
            st.integers(30, 33),
            st.sampled_from(kinds),
            st.sampled_from([0, 49, 50, 120]),
        )
    )
    # In the order of the files of each kind, so that the first problem is the same one.
    frame = yambda_events(*sorted(draw(rows), key=lambda row: row[3]))
    frame = frame.astype({"uid": "Int64", "item_id": "Int64", "event_type": "object"})
    for column in draw(st.sets(st.sampled_from(["uid", "item_id", "played_ratio_pct"]))):
        frame.loc[draw(st.integers(0, len(frame) - 1)), column] = None
    odd = draw(st.sampled_from([False, False, "hum", None]))
    sources = parquet_sources(frame, "multi_event.parquet")
    if odd is not False:
        frame.loc[0, "event_type"] = odd
    else:

        def apart(folder):
            (folder / "apart").mkdir()
            for kind, part in frame.groupby("event_type"):
                part = part.drop(columns="event_type")
                part.to_parquet(folder / "apart" / f"{kind}s.parquet")
            return folder / "apart"

        sources["list, elsewhere"] = apart
    options = {"positive_from": draw(st.sampled_from([50, 1]))}
    return Log("yambda", options, sources, draw(ERRORS))


@st.composite
def frame_logs(draw):
    size = draw(st.integers(1, 8))
    how = draw(st.sampled_from(sorted(FEEDBACK)))
    rule, verdicts = FEEDBACK[how]
    words = draw(st.booleans())
    to_time = ISO_TIMES[draw(st.sampled_from(sorted(ISO_TIMES)))]
    same = {"min_size": size, "max_size": size}
    cells = {
        "session": draw(st.lists(st.sampled_from(["ann", "bob", "7x"]), **same)),
        "item": [f"t,{n}" if words else n for n in range(10 + size, 10, -1)],
        "verdict": draw(st.lists(st.sampled_from(verdicts), **same)),
        "at": [to_time(START + 60 * (n // 2)) for n in range(size)],
        "nth": draw(st.permutations(range(size))),
        "seconds": draw(st.lists(st.integers(0, 60), **same)),
    }
    for column in draw(st.lists(st.sampled_from(sorted(BAD_CELLS)), max_size=2, unique=True)):
        if (not (words and column == "item") or size > 1) and (how, column) != (
            "function",
            "verdict",
        ):
            cells[column] = [*cells[column]]
            cells[column][draw(st.integers(0, size - 1))] = draw(st.sampled_from(BAD_CELLS[column]))
    orders = [{}, {"timestamp": "at"}, {"position": "nth", "timestamp": "at"}]
    options = {
        "session": "session",
        "item": "item",
        "feedback": rule,
        **draw(st.sampled_from(orders)),
    }
    dirt = draw(DIRT)
    place, errors = draw(st.integers(0, size)), draw(ERRORS)
    if errors == "raise":  # Dirt that only text can have is the first error there.
        dirt -= {"again", "byte"}
    frame = pd.DataFrame({name: typed(values) for name, values in cells.items()})

    def as_parquet(folder):
        # A column has one type there, which is text where nothing else fits.
        odd = [name for name in frame if len({type(v) for v in frame[name].dropna()}) > 1]
        texts = {name: frame[name].map(str, na_action="ignore") for name in odd}
        frame.assign(**texts).to_parquet(folder / "log.parquet")
        return folder / "log.parquet"

    def as_csv(folder, name="log.csv"):
        lines = frame.to_csv(index=False).split("\n")[:-1]
        odd = {"again": lines[0], "byte": "J\udce9ga" + "," * (len(cells) - 1), "blank": ""}
        for what, line in odd.items():
            if what in dirt:
                lines.insert(1 + place, line)
        return text_file(folder, name, [[*lines, *["  "] * ("blank" in dirt)]], dirt)

    sources = {
        "DataFrame": lambda folder: frame,
        "csv, elsewhere": as_csv,
        "parquet, elsewhere": as_parquet,
    }
    if draw(st.booleans()):
        sources["csv, elsewhere"] = lambda folder: as_csv(folder, "log.csv.gz")
    return Log("frame", options, sources, errors, len(dirt & {"again", "byte"}))


def typed(values):
    """Integers with missing ones stay integers, as in the other doors."""
    whole = [value for value in values if value is not None]
    if whole and all(type(value) is int for value in whole):
        return pd.array(values, "Int64")
    return pd.Series(values, dtype=None if len({type(v) for v in whole}) == 1 else object)


LOGS = {
    "frame": frame_logs(),
    "mssd": mssd_logs(),
    "lastfm1k": lastfm1k_logs(),
    "yambda": yambda_logs(),
    "kuairand": kuairand_logs(),
    "movielens": movielens_logs(),
    "sequences": sequences_logs(),
}
# 210 with the thorough tests, else 8; those of files with many columns take three times as long.
NUM_LOGS = {"frame": 60, "yambda": 50, "movielens": 40, "sequences": 30}
NUM_LOGS |= {"mssd": 10, "lastfm1k": 10, "kuairand": 10}
# Logs are small already.
GENERATE = [Phase.explicit, Phase.generate]
OF_TEXT = ("expected the header in", "expected text in UTF-8")


def outcome(log, read, source, folder):
    """Events or an error, the same as text whatever the file is called, and the counts."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            events = read(source, errors=log.errors, **log.options)
    except ValueError as error:
        told = str(error)
        text = told.replace(f"{folder}/one", "it").replace(str(folder), "")
        text = re.sub(r"[\w/.-]*\.(csv|tsv|txt|data|dat|inter|parquet)(\.gz)?", "it", text)
        # How many rows there are of nothing but problems: text has problems of its own.
        text = re.sub(r"Received \d+ rows.*", "", text) if log.format == "frame" else text
        return told, text, {}
    dropped = events.attrs["dropped"]
    if log.format == "frame":
        of_text = [kind for kind in dropped if kind.startswith(OF_TEXT)]
        assert not of_text or len(of_text) == log.of_text
        dropped = {kind: count for kind, count in dropped.items() if kind not in of_text}
    return events, json.dumps(events.to_dict("list"), default=float), dropped


def without_place(text):
    text = re.sub(r"In .*?(, (line|row) (\d+)|:)", "In it", text, count=1)
    return re.sub(r"Received type: \w+|other_file='it', ", "", text)


def lists(sessions):
    ends = itertools.pairwise(sessions.row_splits)
    columns = [sessions.columns[name] for name in ("item_ids", "feedback")]
    return {
        key: [column[a:b].tolist() for column in columns]
        for key, (a, b) in zip(sessions.keys, ends, strict=True)
    }


def prepare_as_command(source, folder, errors, format, options):
    arguments = ["prepare", "--input", source, "--output", folder, "--errors", errors]
    arguments += ["--format", format, "--format-options", json.dumps(options)]
    arguments += ["--split", "none", "--num-shards", 1]
    with contextlib.redirect_stderr(io.StringIO()) as told:
        failed = command([str(word) for word in arguments])
    if failed:
        raise ValueError(told.getvalue().partition("error: ")[2])


def prepare(source, folder, errors, format, options):
    settings = {"format": format, "format_options": options, "errors": errors}
    kn.data.prepare(source, folder, split=None, num_shards=1, verbose=False, **settings)


def in_one_line(message):
    """A message without the examples, which the command gives in its own words."""
    line = " ".join(str(message).replace("--errors skip", 'errors="skip"').split())
    return re.split(r" Expected for example|[.] For example: --|[.] Any table can", line)[0]


def check_prepared(log, source, folder, told):
    """`prepare` and its command make of the source what `told`, its events or error, says."""
    rule = log.options.get("feedback")
    in_json = not callable(rule) and not (isinstance(rule, dict) and None in rule["values"])
    doors = [prepare, prepare_as_command] if in_json and isinstance(source, Path) else [prepare]
    for door in doors:
        out = folder / door.__name__
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                door(source, out, log.errors, log.format, log.options)
        except ValueError as error:
            words = str if door is prepare else in_one_line
            assert words(error) == words(told)
            continue
        prepared = kn.data.load_prepared(out)
        dropped = prepared.manifest["counts"]["dropped"]
        assert {drop["reason"]: drop["events"] for drop in dropped} == told.attrs["dropped"]
        events = told.drop(columns="user", errors="ignore")  # Rows are sessions.
        sessions = kn.data.Sessions.from_events(events, prepared.vocabulary)
        assert lists(prepared.sessions()) == lists(sessions)
        shutil.rmtree(out)


@pytest.mark.parametrize("format", LOGS)
def test_every_door_gives_the_same(tmp_path_factory, format):
    general = functools.partial(kn.data.read_log, format=format)
    readers = [getattr(kn.data, f"read_{format}"), general]

    @settings(max_examples=max(1, NUM_LOGS[format] // (1 if THOROUGH else 30)), phases=GENERATE)
    @given(log=LOGS[format])
    def check(log):
        folder = tmp_path_factory.mktemp("log")
        first = None
        for kind, store in log.sources.items():
            source = store(folder)
            for read in readers:
                told, text, dropped = outcome(log, read, source, folder)
                first = first or (text, dropped)
                if "elsewhere" in kind:
                    assert without_place(text) == without_place(first[0]), kind
                else:
                    assert text == first[0], kind
                assert dropped == first[1], kind
            check_prepared(log, source, folder, told)

    check()


def test_the_guide_has_one_line_for_each_door(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plays = pd.DataFrame({"listener": ["ann"] * 3 + ["bob"] * 3, "track": [1, 2, 3, 3, 2, 1]})
    plays.to_csv("plays.csv", index=False)
    plays.to_parquet("plays.parquet")
    text_file(tmp_path / "training_set", "log_0.csv", [[mssd_log(*mssd_session("a"))]], {})
    write("userid-timestamp-artid-artname-traid-traname.tsv", lastfm_line("ann", "10:00:00"))
    yambda_events((7, 0, 30, "listen", 49)).to_parquet("multi_event.parquet")
    log = KUAIRAND_HEADER + "\n" + kuairand_line(4, 50, START * 1000)
    write("log_standard_4_08_to_4_21_pure.csv", log)
    write("ratings.dat", RATINGS)
    write("sequences.txt", "1 10 20\n")
    guide = Path(__file__).parents[3] / "recipes/guides/your-own-log.md"
    lines = guide.read_text("utf-8").split("one line each\n")[1]
    calls = re.findall(r"\| `(kn\..*?)` \|", lines)
    results = {call: eval(call, {"kn": kn, "pd": pd}) for call in calls}
    of_frames = [events for call, events in results.items() if "read_frame" in call]
    assert len(results) == 10 and len(of_frames) == 3
    assert all(events.equals(of_frames[0]) for events in of_frames)
    [line] = re.findall(r"\| `.venv/bin/python -m keras_negrec.data (.*?)` \|", lines)
    assert command(shlex.split(line.replace("prepared", "by_command"))) == 0
    found = [kn.data.load_prepared(folder) for folder in ("prepared", "by_command")]
    assert lists(found[0].sessions()) == lists(found[1].sessions())
