"""Small logs, `prepare` for them, and what is in a prepared folder."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from keras_negrec.data import Sessions, Vocabulary, leave_one_out, load_prepared, prepare


def shards_of(folder):
    return [
        pq.read_table(folder / shard["file"]) for shard in load_prepared(folder).manifest["shards"]
    ]


def rows_of(folder):
    """All rows, ordered by key; windows of a row in their order."""
    rows = [row for shard in shards_of(folder) for row in shard.to_pylist()]
    return sorted(rows, key=lambda row: row["key"])


def items_of(folder):
    """External items of each row by its key."""
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    return {row["key"]: vocabulary.decode(row["item_ids"]).tolist() for row in rows_of(folder)}


def examples_of(folder, part):
    """(history, target, skip target or None) of each example by the key of its row."""
    prepared = load_prepared(folder)
    examples, decode = prepared.examples(part), prepared.vocabulary.decode
    splits = examples.histories.row_splits
    histories = np.split(decode(examples.histories.item_ids), splits[1:-1])
    skips = [decode([skip])[0] if skip else None for skip in examples.skip_targets]
    values = zip(map(list, histories), decode(examples.targets), skips, strict=True)
    return dict(zip(examples.histories.keys.tolist(), values, strict=True))


def train_of(folder):
    """The items that train, by the key of their row."""
    prepared = load_prepared(folder)
    rows, decode = prepared.sessions(), prepared.vocabulary.decode
    items = np.split(decode(rows.item_ids), rows.row_splits[1:-1])
    return dict(zip(rows.keys.tolist(), map(list, items), strict=True))


def log(*sessions):
    """A DataFrame of events from rows `(session, "item+ item- item0 item!")`, in order."""
    events = [
        (session, token[:-1], {"+": 1, "-": -1, "0": 0, "!": -2}[token[-1]], position)
        for session, text in sessions
        for position, token in enumerate(text.split())
    ]
    return pd.DataFrame(events, columns=["session", "item", "feedback", "position"])


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
