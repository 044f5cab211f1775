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
    (folder / "shards").mkdir(parents=True)
    if vocabulary is None:
        vocabulary = Vocabulary([f"item {i}" for i in range(1, sessions.item_ids.max() + 1)])
    vocabulary.save(folder / "vocabulary.json")
    if cuts is None:
        cuts = leave_one_out_cuts(sessions)
    columns = {"key": pa.array(sessions.keys.tolist())}
    for name, values in sessions.columns.items():
        kind = pa.list_(pa.from_numpy_dtype(values.dtype))
        columns[name] = pa.array(rows_of(values, sessions), kind)
    for name, values in zip(("train_end", "validation_at", "test_at"), cuts, strict=True):
        columns[name] = pa.array(values, pa.int32())
    table = pa.table(columns).take(np.arange(len(sessions)) if order is None else order)
    shards = []
    for number, start in enumerate(range(0, len(sessions), rows_per_shard)):
        path = folder / "shards" / f"part-{number:05d}.parquet"
        part = table.slice(start, rows_per_shard)
        pq.write_table(part, path, row_group_size=rows_per_group)
        starts = range(0, part.num_rows, rows_per_group)
        groups = [len(part.slice(first, rows_per_group)) for first in starts]
        shard = file_in(folder, f"shards/{path.name}") | {"rows": part.num_rows}
        events = sum(map(len, part["item_ids"].to_pylist()))
        shards.append(shard | {"row_groups": groups, "events": events})
    train = sessions.positions() < np.repeat(cuts[0], sessions.lengths)
    counted = {"count": train | True, "train_count": train}
    if positive_counts:
        counted["train_positive_count"] = train & (sessions.feedback > 0)
    items = {"id": np.arange(1, len(vocabulary) + 1, dtype="int32"), "item": vocabulary.items}
    for name, which in counted.items():
        items[name] = np.bincount(sessions.item_ids[which], minlength=len(vocabulary) + 1)[1:]
    pd.DataFrame(items).to_parquet(folder / "items.parquet")
    write_manifest(folder, shards=shards, columns=list(sessions.columns))
    return folder


def file_in(folder, name):
    """What the manifest says of a file."""
    content = (folder / name).read_bytes()
    return {"file": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write_manifest(folder, **values):
    """The manifest, or the present one, with some values replaced, and its checksum."""
    path = folder / "manifest.json"
    files = [file_in(folder, name) for name in ("vocabulary.json", "items.parquet")]
    manifest = {"schema_version": 3, "files": files}
    if path.exists():
        manifest = json.loads(path.read_text())
    manifest = {name: value for name, value in (manifest | values).items() if name != "sha256"}
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    path.write_text(json.dumps(manifest | {"sha256": hashlib.sha256(canonical).hexdigest()}))


def rows_of(values, sessions):
    return [row.tolist() for row in np.split(values, sessions.row_splits[1:-1])]


def leave_one_out_cuts(sessions):
    """The definition, one row at a time: train_end, validation_at and test_at of all rows."""
    cuts = []
    for feedback in rows_of(sessions.feedback, sessions):
        kept = [position for position, value in enumerate(feedback) if value > 0]
        held_out = (kept[-3] + 1, kept[-3] + 1, kept[-2] + 1) if len(kept) > 2 else None
        cuts.append(held_out or (len(feedback), -1, -1))
    return np.array(cuts).T


def numbered(lengths, with_sessions=False):
    """Sessions whose item ids number all events, so that each can be told apart."""
    num_events = int(np.sum(lengths))
    events = np.arange(num_events)
    columns = {"item_ids": events + 1, "feedback": events % 5 - 2}
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
