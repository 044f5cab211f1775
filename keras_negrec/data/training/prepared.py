"""From a folder that `prepare` wrote to training and evaluation data."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_choice
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.examples import Examples
from keras_negrec.data.preparation.manifest import SCHEMA_VERSION, read_manifest, vocabulary_hash
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.splits.split import Split
from keras_negrec.data.training.shard_rows import RowGroup, read_cuts, read_rows, row_groups
from keras_negrec.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    import tensorflow as tf


def load_prepared(folder: str | Path) -> Prepared:
    """Opens the folder that `prepare` was given, and checks that it is whole.

    Nothing but the vocabulary is read into memory here.

    Args:
        folder: what `prepare` has written.

    Raises:
        FileNotFoundError: no such folder, or its manifest or a file that it names is not there.
        ValueError: another schema version; a vocabulary or a shard that is not the one of the
            manifest; a column of events that is not registered.

    Example:

    >>> plays = keras_negrec.data.simulate_sessions(num_sessions=50, num_items=30).events
    >>> columns = {name: name for name in ("session", "item", "feedback", "position")}
    >>> _ = keras_negrec.data.prepare(plays, "prepared", format_options=columns, verbose=False)
    >>> prepared = keras_negrec.data.load_prepared("prepared")
    >>> len(prepared.sessions()), len(prepared.vocabulary)
    (50, 30)
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no such folder. Received: {folder}")
    path, manifest = folder / "manifest.json", read_manifest(folder)
    if manifest is None:
        raise FileNotFoundError(
            f"{folder} has no manifest.json, which is written last: its preparation did not come "
            "to its end. Run `prepare` again with the same arguments to complete it."
        )
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: this version of keras_negrec reads schema version {SCHEMA_VERSION}; run "
            f"`prepare` again. Received: {manifest.get('schema_version')!r}"
        )
    for name in ("shards", "columns", "vocabulary_sha256"):
        if name not in manifest:
            raise ValueError(f"{path}: `{name}` is missing. Received: {sorted(manifest)}")
    unknown = sorted(set(manifest["columns"]) - set(EVENT_COLUMNS))
    if unknown:
        raise ValueError(
            f"{folder} holds the column {unknown[0]!r}. Make it known before: "
            f"keras_negrec.data.register_event_column({unknown[0]!r}, ...). Received columns: "
            f"{manifest['columns']}"
        )
    shards = [folder / "shards" / Path(shard["file"]).name for shard in manifest["shards"]]
    for path in (folder / "vocabulary.json", *shards):
        if not path.is_file():
            raise FileNotFoundError(f"The manifest names a file that is not there: {path}")
    digest = vocabulary_hash(folder)
    if digest != manifest["vocabulary_sha256"]:
        raise ValueError(
            f"{folder / 'vocabulary.json'} is not the vocabulary that the shards were written "
            f"with: its SHA-256 must be {manifest['vocabulary_sha256']}. Received: {digest}"
        )
    groups: list[RowGroup] = []
    for path, shard in zip(shards, manifest["shards"], strict=True):
        found = {"bytes": path.stat().st_size}
        if found["bytes"] == shard["bytes"]:  # else it may not be read
            of_shard = row_groups(path)
            groups += of_shard
            found["rows"] = sum(group.num_rows for group in of_shard)
        for name, number in found.items():
            if number != shard[name]:
                raise ValueError(
                    f"{path} must have {shard[name]} {name} by the manifest. Received: {number}"
                )
    strangers = sorted(set((folder / "shards").glob("part-*.parquet")) - set(shards))
    if strangers:
        raise ValueError(
            f"{folder} holds shards that the manifest does not name, of another run of "
            f"`prepare`. Received: {strangers[0].name}"
        )
    return Prepared(folder, manifest, Vocabulary.load(folder / "vocabulary.json"), groups)


class Prepared:
    """What `load_prepared` opens: the sessions of the split, `manifest` and `vocabulary`.

    Models and baselines take it in place of `Sessions`, and learn from the events that train.
    Batches are made while shards are read, and the data are never in memory as a whole.

    Example:

        prepared = keras_negrec.data.load_prepared("prepared")
        model = keras_negrec.build_model("sasrec", vocabulary=prepared.vocabulary)
        model.fit(model.training_dataset(prepared), epochs=10)
        keras_negrec.evaluate(model, prepared.examples("test"))
    """

    def __init__(
        self, folder: Path, manifest: dict, vocabulary: Vocabulary, groups: list[RowGroup]
    ):
        self.folder = folder
        self.manifest = manifest
        self.vocabulary = vocabulary
        self._groups = groups
        self._before_test = False
        self._counted: dict[bool, np.ndarray] = {}

    def before_test(self) -> Prepared:
        """The same folder, in which all events before the test targets train.

        For a last training, with what validation has chosen, before the metrics are reported:
        `model.training_dataset(prepared.before_test())`, as with `Split.before_test`.
        """
        prepared = Prepared(self.folder, self.manifest, self.vocabulary, self._groups)
        prepared._before_test = True
        return prepared

    @functools.cached_property
    def items(self) -> pd.DataFrame:
        """The table `items.parquet`, row `j` for item `j + 1`.

        Columns `id`, `item`, `count` (events), `train_count` (events that train), and others
        that the preparation has given.
        """
        path = self.folder / "items.parquet"
        table = pd.read_parquet(path).sort_values("id", ignore_index=True)
        if not np.array_equal(table["id"], np.arange(1, len(self.vocabulary) + 1)):
            raise ValueError(
                f"{path} must have one row for each id from 1 to {len(self.vocabulary)}. "
                f"Received: {len(table)} rows."
            )
        return table

    @property
    def column_names(self) -> list[str]:
        """The columns of events that the shards hold."""
        return list(self.manifest["columns"])

    def check_catalogue(self, num_items: int, vocabulary: Vocabulary | None = None) -> None:
        """A ValueError unless a model of so many items, or of that vocabulary, knows all items."""
        if len(self.vocabulary) > num_items:
            raise ValueError(
                f"The model knows {num_items} items. Received prepared data with "
                f"{len(self.vocabulary)}."
            )
        if vocabulary is not None and vocabulary != self.vocabulary:
            raise ValueError(
                "The model and the prepared data must have the same vocabulary. Received "
                f"{vocabulary} and {self.vocabulary}, with different items or another order."
            )

    def item_counts(self, num_items: int, positive: bool = False) -> np.ndarray:
        """How often each item occurs in what trains, or with `positive` is kept.

        Read from the table `items` where it says so, else counted in a pass over the shards.
        """
        self.check_catalogue(num_items)
        name = "train_positive_count" if positive else "train_count"
        if not self._before_test and name in self.items:
            counts = self.items[name].to_numpy("int64")
        else:
            if positive not in self._counted:
                size = len(self.vocabulary)
                chunks = (rows.item_counts(size, positive) for rows in self.chunks())
                self._counted[positive] = sum(chunks, np.zeros(size, "int64"))
            counts = self._counted[positive]
        return np.pad(counts, (0, num_items - len(counts)))

    def batches(self, *, batch_size: int, max_length: int, **options: Any) -> tf.data.Dataset:
        """Batches of what trains, streamed from the shards: see `TrainingData.batches`.

        The row groups of all shards are taken in a random order and shuffled in a buffer.
        """
        from keras_negrec.data.training.stream_batches import stream_batches  # loads TensorFlow

        def lengths(group: RowGroup) -> np.ndarray:
            ends = self._training_ends(group)
            return ends[ends > 0]

        options |= {"batch_size": batch_size, "max_length": max_length}
        options |= {"columns": self.column_names, "source": str(self.folder)}
        options["fingerprint"] = self.fingerprint
        return stream_batches(self._groups, read=self._training_rows, lengths=lengths, **options)

    def fingerprint(self) -> str:
        """A hash of the manifest, and of which events train."""
        about = json.dumps([self.manifest, self._before_test], sort_keys=True)
        return hashlib.sha256(about.encode()).hexdigest()

    def chunks(self) -> Iterator[Sessions]:
        """What trains, one row group after the other."""
        return map(self._training_rows, self._groups)

    def sessions(self) -> Sessions:
        """What trains, in memory, in the order of the keys."""
        rows = self._concatenate(list(self.chunks()))
        return rows.take(np.argsort(rows.keys, kind="stable"))

    def examples(self, split: str) -> Examples:
        """The examples of `"validation"` or `"test"`, in memory and in the order of their keys.

        A session whose cut has no positive event after it is a ValueError.
        """
        check_choice("split", split, ("validation", "test"))
        found = [
            read_cuts(group).rows_to_rank(split, self._whole_rows(group)) for group in self._groups
        ]
        rows = self._concatenate([rows for rows, _ in found])
        cuts = np.concatenate([np.zeros(0, "int32"), *(cuts for _, cuts in found)])
        order = np.argsort(rows.keys, kind="stable")
        examples = Examples.after(rows.take(order), cuts[order])
        if len(examples) != len(rows):
            missing = np.setdiff1d(rows.keys, examples.histories.keys)
            raise ValueError(
                f"In {self.folder}: every {split} session needs a history and a positive event "
                f"after it. Received {len(missing)} without, first: {missing.tolist()[0]!r}"
            )
        return examples

    def split(self) -> Split:
        """All three in memory, as the functions that split `Sessions` give them."""
        return Split(self.sessions(), self.examples("validation"), self.examples("test"))

    def _whole_rows(self, group: RowGroup) -> Sessions:
        return read_rows(group, num_items=len(self.vocabulary), columns=self.column_names)

    def _training_ends(self, group: RowGroup) -> np.ndarray:
        cuts = read_cuts(group)
        return cuts.before_test if self._before_test else cuts.train_end

    def _training_rows(self, group: RowGroup) -> Sessions:
        ends = self._training_ends(group)
        rows = np.flatnonzero(ends > 0)
        return self._whole_rows(group).between(0, ends[rows], rows)

    def _concatenate(self, chunks: list[Sessions]) -> Sessions:
        if chunks:
            return Sessions.concatenate(chunks)
        empty = {name: np.zeros(0, EVENT_COLUMNS[name].dtype) for name in self.column_names}
        return Sessions(empty, np.zeros(1, "int64"), np.zeros(0, "int64"))

    def __repr__(self) -> str:
        shards, items = self.manifest["shards"], len(self.vocabulary)
        rows, events = (sum(shard[name] for shard in shards) for name in ("rows", "events"))
        return f"<Prepared: {rows} rows, {events} events in {len(shards)} shards, {items} items>"
