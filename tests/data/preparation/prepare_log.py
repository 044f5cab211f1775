"""Reads a prepared folder without any of the package's own readers."""

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from keras_negrec.data import Examples, Sessions, Vocabulary, leave_one_out, prepare

once = pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="preparing data does not depend on the Keras backend: tested with TensorFlow alone",
)


def manifest_of(folder):
    return json.loads((Path(folder) / "manifest.json").read_text("utf-8"))


def shards_of(folder):
    return [pq.read_table(Path(folder) / shard["file"]) for shard in manifest_of(folder)["shards"]]


def rows_of(folder):
    """All rows, ordered by key; windows of a row in their order."""
    rows = [row for shard in shards_of(folder) for row in shard.to_pylist()]
    return sorted(rows, key=lambda row: row["key"])


def items_of(folder):
    """External items of each row by its key."""
    vocabulary = Vocabulary.load(Path(folder) / "vocabulary.json")
    return {row["key"]: vocabulary.decode(row["item_ids"]).tolist() for row in rows_of(folder)}


def sessions_of(folder):
    rows = rows_of(folder)
    session_ids = [row["session_ids"] for row in rows] if "session_ids" in rows[0] else None
    return Sessions.from_lists(
        [row["item_ids"] for row in rows],
        [row["feedback"] for row in rows],
        session_ids,
        keys=np.array([row["key"] for row in rows]),
    )


def examples_of(folder, part):
    """(history, target, skip target) of each example by the key of its row."""
    sessions, rows = sessions_of(folder), rows_of(folder)
    chosen = [i for i, row in enumerate(rows) if row[f"{part}_at"] >= 0]
    ends = [
        rows[i]["test_at"] if part == "validation" and rows[i]["test_at"] >= 0 else 10**9
        for i in chosen
    ]
    cuts = np.array([rows[i][f"{part}_at"] for i in chosen], int)
    examples = Examples.after(sessions.between(0, np.array(ends, int), np.array(chosen, int)), cuts)
    assert len(examples) == len(chosen)  # every cut has its example
    return triples(examples)


def triples(examples):
    histories = np.split(examples.histories.item_ids, examples.histories.row_splits[1:-1])
    values = zip(
        [history.tolist() for history in histories],
        examples.targets.tolist(),
        examples.skip_targets.tolist(),
        strict=False,
    )
    return dict(zip(examples.histories.keys.tolist(), values, strict=False))


def train_of(folder):
    """What trains, by the key of its row."""
    return {
        row["key"]: (row["item_ids"][: row["train_end"]], row["feedback"][: row["train_end"]])
        for row in rows_of(folder)
        if row["train_end"]
    }


def log(*sessions, **columns):
    """A DataFrame of events from rows `(session, "item+ item- item0")`, in order."""
    events = []
    for session, text in sessions:
        for position, token in enumerate(text.split()):
            feedback = {"+": 1, "-": -1, "0": 0, "!": -2, "*": 2}[token[-1]]
            events.append((session, token[:-1], feedback, position))
    frame = pd.DataFrame(events, columns=["session", "item", "feedback", "position"])
    return frame.assign(**columns)


def random_log(seed, *, users=False, times=False, num_sessions=60, integers=False):
    """Events in random order, with popular and rare items."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, num_sessions)
    session = np.repeat(rng.permutation(num_sessions), lengths)
    total = int(lengths.sum())
    frame = pd.DataFrame(
        {
            "session": session if integers else [f"s{s}" for s in session],
            "item": np.minimum(rng.geometric(0.08, total), 60),
            "feedback": rng.integers(-2, 3, total),
            "position": np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths),
        }
    )
    if not integers:
        frame["item"] = [f"track {i:02d}" for i in frame["item"]]
    if users:
        frame["user"] = [f"u{s % 17}" for s in session]
    if times:
        start = rng.permutation(num_sessions * 100)[:num_sessions]
        frame["timestamp"] = start[session] * 10 + frame["position"]
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


def prepare_log(frame, folder, **settings):
    """Prepares a DataFrame whose columns have the names of the events table."""
    roles = ("session", "item", "feedback", "user", "position", "timestamp")
    options = {role: role for role in roles if role in frame.columns}
    settings = {"num_shards": 2, "verbose": False} | settings
    return prepare(frame, folder, format_options=options, **settings)


def in_memory(frame):
    """The vocabulary and sessions of a log, items in the order of how often they train."""
    vocabulary = Vocabulary.from_items(frame["item"])
    train = leave_one_out(Sessions.from_events(frame, vocabulary)).train
    vocabulary = vocabulary.by_frequency(train.item_counts(len(vocabulary)))
    return vocabulary, Sessions.from_events(frame, vocabulary)


def dropped(manifest):
    """Reason, events, sessions and items of all that was taken out, which adds up."""
    counts = manifest["counts"]
    gone = sum(drop["events"] for drop in counts["dropped"])
    assert counts["read"]["events"] - gone == counts["kept"]["events"]
    return [tuple(drop.values()) for drop in counts["dropped"]]
