"""From a folder that `prepare` wrote to training and evaluation data."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import numbers
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_choice
from keras_negrec.data.event_columns import EVENT_COLUMNS, with_made_columns
from keras_negrec.data.examples import Examples
from keras_negrec.data.preparation.known_file import REPAIR, KnownFile
from keras_negrec.data.preparation.manifest import ITEMS, VOCABULARY, known_files, read_manifest
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.splits.split import Split
from keras_negrec.data.training.shard_rows import RowGroup, read_cuts, read_rows
from keras_negrec.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    import tensorflow as tf


def load_prepared(folder: str | Path) -> Prepared:
    """Opens the folder that `prepare` was given, and checks that it is whole.

    Nothing but the vocabulary is read into memory here. Of the other files, the sizes are checked
    here and the SHA-256 when they are first read. A folder that is damaged is an error which names
    the file.

    Args:
        folder: what `prepare` has written.

    Raises:
        FileNotFoundError: no such folder, or its manifest or a file that it names is not there.
        ValueError: another schema version; a manifest, or a file that it names, which is not as
            `prepare` wrote it; a column of events that is not registered.

    Example:

    >>> plays = keras_negrec.data.simulate_sessions(num_sessions=50, num_items=30).events
    >>> columns = {name: name for name in ("session", "item", "feedback", "position")}
    >>> _ = keras_negrec.data.prepare(plays, "prepared", format_options=columns, verbose=False)
    >>> prepared = keras_negrec.data.load_prepared("prepared")
    >>> len(prepared.sessions()), len(prepared.vocabulary)
    (50, 30)
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no such folder. Received: {folder}")
    if manifest is None:
        raise FileNotFoundError(
            f"{folder} has no manifest.json: it is no prepared folder, or was damaged. {REPAIR}"
        )
    unknown = sorted(set(manifest["columns"]) - set(EVENT_COLUMNS))
    if unknown:
        raise ValueError(
            f"{folder} holds the column {unknown[0]!r}. Make it known before: "
            f"keras_negrec.data.register_event_column({unknown[0]!r}, ...). Received columns: "
            f"{manifest['columns']}"
        )
    files = known_files(folder, manifest)
    for file in files.values():
        file.check_size()
    return Prepared(folder, manifest, Vocabulary.load(files[VOCABULARY].checked()), files)


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
        self, folder: Path, manifest: dict, vocabulary: Vocabulary, files: dict[str, KnownFile]
    ):
        self.folder = folder
        self.manifest = manifest
        self.vocabulary = vocabulary
        self._files = files
        self._groups = [
            RowGroup(files[shard["file"]], index)
            for shard in manifest["shards"]
            for index, num_rows in enumerate(shard["row_groups"])
            if num_rows
        ]
        self._before_test = False
        self._is_part = False
        self._counted: dict[bool, np.ndarray] = {}

    def before_test(self) -> Prepared:
        """The same folder, in which all events before the test targets train.

        For a last training, with what validation has chosen, before the metrics are reported:
        `model.training_dataset(prepared.before_test())`, as with `Split.before_test`.
        """
        prepared = copy.copy(self)
        prepared._before_test, prepared._counted = True, {}
        return prepared

    def newest(self, *, replay: float = 1.0, seed: int = 0) -> Prepared:
        """The last part that `append` has added, with some of what was there before.

        Args:
            replay: float of at least 0. How many older events there are for each new one, about:
                whole row groups are drawn, evenly, and one that is not drawn is not read.
            seed: int. Of the draw.

        Returns:
            `Prepared`, of which only that trains. Where nothing was appended, all of it.

        Example:

            prepared = keras_negrec.data.load_prepared("prepared")
            model = keras_negrec.update(model, prepared.newest(replay=2.0))
        """
        is_number = isinstance(replay, numbers.Real) and not isinstance(replay, bool)
        if not is_number or not 0 <= replay < float("inf"):
            raise ValueError(f"`replay` must be a number of at least 0. Received: {replay!r}")
        if not isinstance(seed, numbers.Integral) or seed < 0:
            raise ValueError(f"`seed` must be an integer of at least 0. Received: {seed!r}")
        parts = self.manifest["parts"]
        if not parts:
            return self
        new = {self._files[name].path for name in parts[-1]["shards"]}
        size = {s["file"]: s["events"] / max(1, s["rows"]) for s in self.manifest["shards"]}
        rows = {s["file"]: s["row_groups"] for s in self.manifest["shards"]}
        taken = [group for group in self._groups if group.file.path in new]
        older = [group for group in self._groups if group.file.path not in new]
        wanted = replay * parts[-1]["events"]
        for number in np.random.default_rng(seed).permutation(len(older)):
            if wanted <= 0:
                break
            group = older[number]
            name = group.file.path.relative_to(self.folder).as_posix()
            wanted -= rows[name][group.index] * size[name]
            taken.append(group)
        prepared = copy.copy(self)
        prepared._groups, prepared._is_part, prepared._counted = taken, True, {}
        return prepared

    @functools.cached_property
    def items(self) -> pd.DataFrame:
        """The table `items.parquet`, row `j` for item `j + 1`.

        Columns `id`, `item`, `count` (events), `train_count` (events that train), and others
        that the preparation has given.
        """
        path = self._files[ITEMS].checked()
        table = pd.read_parquet(path).sort_values("id", ignore_index=True)
        if not np.array_equal(table["id"], np.arange(1, len(self.vocabulary) + 1)):
            raise ValueError(
                f"{path} must have one row for each id from 1 to {len(self.vocabulary)}. "
                f"Received: {len(table)} rows."
            )
        return table

    @property
    def column_names(self) -> list[str]:
        """The columns of events that the shards hold, and those that are made of them."""
        return with_made_columns(self.manifest["columns"])

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
        if not self._before_test and not self._is_part and name in self.items:
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
        groups = [(group.file.path.name, group.index) for group in self._groups]
        about = json.dumps([self.manifest, self._before_test, groups], sort_keys=True)
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
        return read_rows(group, num_items=len(self.vocabulary), columns=self.manifest["columns"])

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
        if self._is_part:
            of_shard = {shard["file"]: shard["row_groups"] for shard in shards}
            names = [group.file.path.relative_to(self.folder).as_posix() for group in self._groups]
            own = sum(
                of_shard[name][group.index] for name, group in zip(names, self._groups, strict=True)
            )
            return f"<Prepared: {own} of {rows} rows in {len({*names})} shards, {items} items>"
        return f"<Prepared: {rows} rows, {events} events in {len(shards)} shards, {items} items>"
