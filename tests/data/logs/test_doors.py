"""Whatever the door, the same log gives the same events, counts and errors."""

import gzip
import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import keras_negrec as kn

FEEDBACK = {
    "numbers": ("verdict", [1, -1, 0, 2, -2]),
    "booleans": ({"column": "verdict", "values": {True: -1, False: 1}}, [True, False]),
    "words": ({"column": "verdict", "values": {"like": 2, "skip": -1, None: 0}}, ["like", "skip"]),
    "function": (lambda log: (log.seconds >= 30).ifelse(1, -1), [1]),
}
TIMES = {
    "dates": lambda second: pd.Timestamp(second, unit="s"),
    "zones": lambda second: pd.Timestamp(second, unit="s", tz="Asia/Tokyo"),
    "text": lambda second: pd.Timestamp(second, unit="s").isoformat(),
    "seconds": lambda second: second,
    "microseconds": lambda second: pd.Timestamp(second * 7, unit="us"),
}
DIRT = {
    "session": [None],
    "item": [None],
    "verdict": [None, "x", 7, 0.5],
    "at": [None, "noon", -1, "2024-13-01", np.inf],
    "nth": [None, np.inf, "third", 2.5],
}


@st.composite
def logs(draw):
    """A table, the names of its columns, and what to do to its text as a file."""
    size = draw(st.integers(1, 8))
    how = draw(st.sampled_from(sorted(FEEDBACK)))
    rule, verdicts = FEEDBACK[how]
    words = draw(st.booleans())
    cells = {
        "session": draw(
            st.lists(st.sampled_from(["ann", "bob", "7x"]), min_size=size, max_size=size)
        ),
        "item": [f"t,{n}" if words else n for n in range(10, 10 + size)],
        "verdict": draw(st.lists(st.sampled_from(verdicts), min_size=size, max_size=size)),
        "at": [TIMES[draw(st.sampled_from(sorted(TIMES)))]] * size,
        "nth": draw(st.permutations(range(size))),
        "seconds": draw(st.lists(st.integers(0, 60), min_size=size, max_size=size)),
    }
    cells["at"] = [to_time(1_700_000_000 + 60 * n) for n, to_time in enumerate(cells["at"])]
    for column in draw(st.lists(st.sampled_from(sorted(DIRT)), max_size=2, unique=True)):
        if not (words and column == "item") or size > 1:
            cells[column] = [*cells[column]]
            cells[column][draw(st.integers(0, size - 1))] = draw(st.sampled_from(DIRT[column]))
    names = {"session": "session", "item": "item", "feedback": rule}
    orders = draw(
        st.sampled_from([{}, {"timestamp": "at"}, {"position": "nth", "timestamp": "at"}])
    )
    if how == "function":
        cells["verdict"] = [1] * size
    dirt = draw(st.sets(st.sampled_from(["bom", "crlf", "cr", "mixed", "blank", "again", "byte"])))
    return cells, {**names, **orders}, dirt, draw(st.integers(0, size))


def typed(values):
    """Integers with missing ones stay integers, as in the other doors."""
    whole = [value for value in values if value is not None]
    if whole and all(type(value) is int for value in whole):
        return pd.array(values, "Int64")
    return pd.Series(values, dtype=None if len({type(v) for v in whole}) == 1 else object)


def as_text(frame, dirt, place):
    lines = frame.to_csv(index=False).split("\n")[:-1]
    if "again" in dirt:
        lines.insert(1 + place, lines[0])
    if "byte" in dirt:
        lines.insert(1 + place, "J\udce9ga" + "," * (len(frame.columns) - 1))
    if "blank" in dirt:
        lines.insert(1 + place, "")
        lines.append("  ")
    end = "\r\n" if "crlf" in dirt else "\r" if "cr" in dirt else "\n"
    text = end.join(lines) + end
    if "mixed" in dirt:
        text = text.replace(end, "\r", 1).replace(end, "\n", 1)
    content = text.encode("utf-8", "surrogateescape")
    return b"\xef\xbb\xbf" * ("bom" in dirt) + content


def stored(frame, kind, folder, dirt, place):
    path = folder / f"log.{kind}"
    if kind == "DataFrame":
        return frame
    if kind == "parquet":  # A column has one type there, which is text where nothing else fits.
        odd = [name for name in frame if len({type(v) for v in frame[name].dropna()}) > 1]
        frame.assign(**{name: frame[name].map(str, na_action="ignore") for name in odd}).to_parquet(
            path
        )
    else:
        content = as_text(frame, dirt, place)
        path.write_bytes(gzip.compress(content) if kind.endswith("gz") else content)
    return path


def outcome(read, source, names, errors):
    """Events and counts, or an error without the place, which each door names its own way."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            events = read(source, **names, errors=errors)
    except ValueError as error:
        text = re.sub(r"In .*?(, (line|row) (\d+)|:)", "In it", str(error), count=1)
        return re.sub(r"Received type: \w+|Received \d+ rows", "", text), {}
    dropped = dict(events.attrs["dropped"])
    return json.dumps(events.to_dict("list"), default=float), dropped


READERS = st.sampled_from([kn.data.read_frame, kn.data.read_log])
KINDS = st.permutations(["DataFrame", "parquet", "csv"])
GZIPPED = st.sampled_from(["", ".gz"])
# Logs are small already, and each costs a quarter of a second.
GENERATE = [Phase.explicit, Phase.generate]
OF_LINES = ("expected the header in", "expected text in UTF-8")


@pytest.mark.parametrize("errors", ["skip", "raise"])
@settings(max_examples=100, phases=GENERATE)
@given(log=logs(), kinds=KINDS, gz=GZIPPED, readers=st.tuples(READERS, READERS))
def test_every_pair_of_doors(tmp_path_factory, errors, log, kinds, gz, readers):
    cells, names, dirt, place = log
    if errors == "raise":  # Dirt that only text can have is the first error there.
        dirt = dirt - {"again", "byte"}
    frame = pd.DataFrame({name: typed(values) for name, values in cells.items()})
    folder = tmp_path_factory.mktemp("log")
    found = []
    for kind, read in zip(kinds, readers, strict=False):
        kind += gz if kind == "csv" else ""
        events, dropped = outcome(read, stored(frame, kind, folder, dirt, place), names, errors)
        of_lines = {kind: n for kind, n in dropped.items() if kind.startswith(OF_LINES)}
        if kind.startswith("csv") and dropped and "{" in events[:1]:
            assert len(of_lines) == len(dirt & {"again", "byte"})
        found.append((events, {kind: n for kind, n in dropped.items() if kind not in of_lines}))
    if not any("there are no events" in events for events, _ in found):
        assert found[0] == found[1]


@settings(max_examples=5, phases=GENERATE)
@given(log=logs(), kind=st.sampled_from(["DataFrame", "csv", "csv.gz", "parquet"]))
def test_prepare_reads_what_the_readers_read(tmp_path_factory, log, kind):
    cells, names, dirt, place = log
    frame = pd.DataFrame({name: typed(values) for name, values in cells.items()})
    folder = tmp_path_factory.mktemp("log")
    source = stored(frame, kind, folder, dirt, place)
    settings = {"split": None, "num_shards": 1, "verbose": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            events = kn.data.read_frame(source, **names, errors="skip")
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error)[:200])):
            kn.data.prepare(source, folder / "out", format_options=names, errors="skip", **settings)
        return
    manifest = kn.data.prepare(
        source, folder / "out", format_options=names, errors="skip", **settings
    )
    dropped = {drop["reason"]: drop["events"] for drop in manifest["counts"]["dropped"]}
    assert dropped == events.attrs["dropped"]
    prepared = kn.data.load_prepared(folder / "out")
    expected = kn.data.Sessions.from_events(events, prepared.vocabulary)
    written = prepared.sessions()

    def lists(sessions):
        return {
            key: (
                sessions.columns["item_ids"][a:b].tolist(),
                sessions.columns["feedback"][a:b].tolist(),
            )
            for key, a, b in zip(
                sessions.keys, sessions.row_splits[:-1], sessions.row_splits[1:], strict=True
            )
        }

    assert lists(written) == lists(expected)
