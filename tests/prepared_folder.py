"""Prepared folders as `prepare` writes them, small and written by the specification."""

import hashlib
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from keras_negrec.data import Sessions, Vocabulary, load_prepared


def write_prepared(
    folder,
    sessions,
    vocabulary=None,
    *,
    cuts=None,
    rows_per_shard=7,
    rows_per_group=3,
    order=None,
    positive_counts=True,
):
    """Writes `sessions`, with the cuts of leave-one-out unless others are given.

    Args:
        cuts: (train_end, validation_at, test_at), one list of each, or None.
        order: in which order rows are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shards").mkdir()
    if vocabulary is None:
        vocabulary = Vocabulary([f"item {i}" for i in range(1, sessions.item_ids.max() + 1)])
    vocabulary.save(folder / "vocabulary.json")
    if cuts is None:
        cuts = leave_one_out_cuts(sessions)
    train_end, validation_at, test_at = (np.asarray(cut) for cut in cuts)
    columns = {
        "key": pa.array(sessions.keys.tolist()),
        **{
            name: pa.array(rows_of(values, sessions), pa.list_(pa.from_numpy_dtype(values.dtype)))
            for name, values in sessions.columns.items()
        },
    }
    for name, values in (
        ("train_end", train_end),
        ("validation_at", validation_at),
        ("test_at", test_at),
    ):
        columns[name] = pa.array(values, pa.int32())
    table = pa.table(columns).take(np.arange(len(sessions)) if order is None else order)
    shards = []
    for number, start in enumerate(range(0, len(sessions), rows_per_shard)):
        path = folder / "shards" / f"part-{number:05d}.parquet"
        part = table.slice(start, rows_per_shard)
        pq.write_table(part, path, row_group_size=rows_per_group)
        events = sum(len(row) for row in part["item_ids"].to_pylist())
        shards.append(
            {
                "file": path.name,
                "rows": part.num_rows,
                "events": events,
                "bytes": path.stat().st_size,
            }
        )
    in_train = sessions.positions() < np.repeat(train_end, sessions.lengths)
    count = len(vocabulary) + 1
    items = pd.DataFrame(
        {
            "id": np.arange(1, count, dtype="int32"),
            "item": vocabulary.items,
            "count": np.bincount(sessions.item_ids, minlength=count)[1:],
            "train_count": np.bincount(sessions.item_ids[in_train], minlength=count)[1:],
        }
    )
    if positive_counts:
        kept = in_train & (sessions.feedback > 0)
        items["train_positive_count"] = np.bincount(sessions.item_ids[kept], minlength=count)[1:]
    items.to_parquet(folder / "items.parquet")
    write_manifest(folder, shards=shards, columns=list(sessions.columns))
    return folder


def write_manifest(folder, **values):
    """The manifest, or the present one with some values replaced."""
    path = folder / "manifest.json"
    manifest = (
        json.loads(path.read_text())
        if path.exists()
        else {
            "schema_version": 2,
            "vocabulary_sha256": hashlib.sha256(
                (folder / "vocabulary.json").read_bytes()
            ).hexdigest(),
        }
    )
    path.write_text(json.dumps({**manifest, **values}))


def rows_of(values, sessions):
    return [row.tolist() for row in np.split(values, sessions.row_splits[1:-1])]


def leave_one_out_cuts(sessions):
    """The definition, one row at a time: train_end, validation_at and test_at of all rows."""
    cuts = []
    for feedback in rows_of(sessions.feedback, sessions):
        kept = [position for position, value in enumerate(feedback) if value > 0]
        if len(kept) < 3:
            cuts.append((len(feedback), -1, -1))
        else:
            cuts.append((kept[-3] + 1, kept[-3] + 1, kept[-2] + 1))
    return np.array(cuts).T


def numbered(lengths, with_sessions=False):
    """Sessions whose item ids number all events, so that each can be told apart."""
    num_events = int(np.sum(lengths))
    columns = {
        "item_ids": np.arange(1, num_events + 1),
        "feedback": np.arange(num_events) % 5 - 2,
    }
    if with_sessions:
        columns["session_ids"] = np.concatenate([np.arange(n) // 2 for n in lengths])
    return Sessions(columns, np.append(0, np.cumsum(lengths)), np.arange(len(lengths)))


def all_train(folder, sessions, **options):
    """A folder of these sessions in which all events train, unless `cuts` are given."""
    options.setdefault("cuts", (sessions.lengths, [-1] * len(sessions), [-1] * len(sessions)))
    return load_prepared(write_prepared(folder / "prepared", sessions, **options))


def epoch(dataset):
    """All batches of one pass, as arrays."""
    return [{name: values.numpy() for name, values in batch.items()} for batch in dataset]


def rows_in(batches):
    """The rows of all batches without padding."""
    return [tuple(row[row > 0].tolist()) for batch in batches for row in batch["item_ids"]]
