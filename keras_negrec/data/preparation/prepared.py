"""A prepared folder: shards on disk that are streamed, or read into memory where they fit."""

from __future__ import annotations

import functools
import itertools
import numbers
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_choice, check_positive_int
from keras_negrec.backend.tensorflow import tf
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.examples import Examples
from keras_negrec.data.preparation.shard_rows import RowGroup, read_cuts, read_rows, row_groups
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.splits.split import Split
from keras_negrec.data.training.session_stream import (
    BatchSizes,
    SessionStream,
    share_out,
    window_lengths,
)
from keras_negrec.data.training.without_autotuning import without_autotuning
from keras_negrec.data.vocabulary import Vocabulary

_PARTS = ("train", "before_test")


class Prepared:
    """What `load_prepared` opens: vocabulary, item counts, and the rows of the split.

    A model's `training_dataset` takes it in place of `Sessions` and streams it: batches are made
    while shards are read, and the data are never in memory as a whole.

    Args:
        folder: the folder.
        manifest: dict, the content of its `manifest.json`.
        vocabulary: `Vocabulary`.
        shards: the paths of the shards, in their order.

    Example:

        prepared = keras_negrec.data.load_prepared("prepared")
        model = keras_negrec.build_model("sasrec", vocabulary=prepared.vocabulary)
        model.fit(model.training_dataset(prepared), epochs=10)
        keras_negrec.evaluate(model, prepared.examples("test"))
    """

    def __init__(
        self, folder: str | Path, manifest: dict, vocabulary: Vocabulary, shards: list[Path]
    ):
        self.folder = Path(folder)
        self.manifest = manifest
        self.vocabulary = vocabulary
        self._shards = list(shards)
        self._counted: dict[tuple[str, bool], np.ndarray] = {}

    @functools.cached_property
    def item_counts(self) -> pd.DataFrame:
        """The table `items.parquet`, row `j` for item `j + 1`.

        Columns `id`, `item`, `count` (events), `train_count` (events that train), and others
        that the preparation has given.

        Raises:
            ValueError: the table does not hold the ids of the vocabulary, each once.
        """
        path = self.folder / "items.parquet"
        table = pd.read_parquet(path).sort_values("id", ignore_index=True)
        if not np.array_equal(table["id"], np.arange(1, len(self.vocabulary) + 1)):
            raise ValueError(
                f"{path} must have one row for each id from 1 to {len(self.vocabulary)}. "
                f"Received: {len(table)} rows."
            )
        return table

    def train_counts(self, part: str = "train", *, positive: bool = False) -> np.ndarray:
        """How often each item occurs in the rows that train.

        Args:
            part: as for `sessions`.
            positive: bool. Count events with positive feedback only.

        Returns:
            int64 array of shape `(num_items,)`, from `item_counts` where it is there, else
            counted in a pass over the shards.
        """
        check_choice("part", part, _PARTS)
        name = "train_positive_count" if positive else "train_count"
        if part == "train" and name in self.item_counts:
            return self.item_counts[name].to_numpy("int64")
        if (part, positive) not in self._counted:
            counts = np.zeros(len(self.vocabulary) + 1, "int64")
            for group in self._groups:
                rows = self._training_rows(part, group)
                chosen = rows.feedback > 0 if positive else slice(None)
                counts += np.bincount(rows.item_ids[chosen], minlength=len(counts))
            self._counted[part, positive] = counts[1:]
        return self._counted[part, positive]

    def sessions(self, part: str = "train") -> Sessions:
        """The rows that train, in memory.

        Args:
            part: `"train"`, or `"before_test"`: all events before the test targets, those held
                out for validation included, for a last training.

        Returns:
            `Sessions`, in the order of their keys.
        """
        check_choice("part", part, _PARTS)
        rows = self._concatenate([self._training_rows(part, group) for group in self._groups])
        return rows.take(np.argsort(rows.keys, kind="stable"))

    def examples(self, part: str) -> Examples:
        """The examples to tune on, or to report, in memory.

        Args:
            part: `"validation"` or `"test"`.

        Returns:
            `Examples`, in the order of their keys.

        Raises:
            ValueError: a row whose cut has no positive event after it.
        """
        check_choice("part", part, ("validation", "test"))
        parts, cut_parts = [], []
        for group in self._groups:
            cuts = read_cuts(group)
            chosen = np.flatnonzero(cuts[f"{part}_at"] >= 0)
            rows = self._whole_rows(group)
            ends = rows.lengths
            if part == "validation":  # its future ends where the test history does
                ends = np.where(cuts["test_at"] >= 0, cuts["test_at"], ends)
            parts.append(rows.between(0, ends[chosen], chosen))
            cut_parts.append(cuts[f"{part}_at"][chosen])
        rows = self._concatenate(parts)
        order = np.argsort(rows.keys, kind="stable")
        row_cuts = np.concatenate([np.zeros(0, "int32"), *cut_parts])
        examples = Examples.after(rows.take(order), row_cuts[order])
        if len(examples) != len(rows):
            missing = np.setdiff1d(rows.keys, examples.histories.keys)
            raise ValueError(
                f"In {self.folder}: every {part} row needs a history and a positive event after "
                f"it. Received {len(missing)} rows without, first: {missing.tolist()[0]!r}"
            )
        return examples

    def split(self) -> Split:
        """All three parts in memory, as the functions that split `Sessions` give them."""
        return Split(
            train=self.sessions("train"),
            validation=self.examples("validation"),
            test=self.examples("test"),
        )

    def dataset(
        self,
        part: str = "train",
        *,
        batch_size: int,
        max_length: int,
        overlap: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        start_step: int = 0,
        repeat: bool = False,
        worker: int = 0,
        num_workers: int = 1,
        buffer_events: int = 4_000_000,
        transform: Callable[[Sessions], Sessions] | None = None,
        with_steps: bool = False,
    ) -> tf.data.Dataset:
        """Batches as `session_batches` gives them, streamed from the shards.

        The row groups of all shards are taken in a random order and shuffled in a buffer. Each
        pass over the dataset is an epoch with an order of its own, that of `seed` and the number
        of the epoch. An order can so be taken up again: step `n` of the first epoch, the steps
        of later ones counted on, is the same whatever came before it. After an interruption give
        the number of steps that were done, which a saved model knows:

            steps = len(model.training_dataset(prepared))
            dataset = model.training_dataset(
                prepared, start_step=int(model.optimizer.iterations), repeat=True
            )
            model.fit(dataset, steps_per_epoch=steps, initial_epoch=..., epochs=...)

        With `keras.callbacks.BackupAndRestore`, which saves at the end of each epoch, the number
        is `steps` times the `epoch` in the `training_metadata.json` of its folder; the
        callback sets `initial_epoch` itself.

        Args:
            part: as for `sessions`.
            batch_size: int. Rows of full length in a batch; of shorter ones it holds more.
                Without `shuffle` all batches but the last have this size.
            max_length: int. The most events in a row of a batch; longer rows are cut into
                windows.
            overlap: int. How many events a window shares with the one before it.
            shuffle: bool. Draw a new order at each epoch, and group rows by length; without it
                rows come in the order of the shards.
            seed: int. The same seed gives the same epochs.
            start_step: int. Where to begin. Inside of an epoch and without `repeat`, the
                dataset is the rest of that epoch. To get there, the epoch's rows are read up to
                that step.
            repeat: bool. Go on with the next epoch without an end, for `fit` with
                `steps_per_epoch`. The dataset then always begins at `start_step`; without
                `repeat` each pass over it (one from which a batch was taken) is the next epoch.
            worker: int from 0 to `num_workers - 1`. Which share of the rows to give: together
                the workers give each row exactly once an epoch, in equally many steps.
            num_workers: int. How many hosts train.
            buffer_events: int. How many events are shuffled among each other. An event takes
                about 50 bytes of memory.
            transform: function from `Sessions` to `Sessions` or None. Makes rows of rows,
                group by group; rows that it leaves empty are left out.
            with_steps: bool. Give `(batch, step)`, the step an int64 scalar counted as above.

        Returns:
            A `tf.data.Dataset` of dicts of int32 tensors of shape `(batch, length)`, whose
            cardinality is the exact number of steps.

        Raises:
            ValueError: an argument outside of its range; no rows; row groups too few or too
                unequal for that many workers.
        """
        check_choice("part", part, _PARTS)
        for name, number in (
            ("batch_size", batch_size),
            ("max_length", max_length),
            ("num_workers", num_workers),
            ("buffer_events", buffer_events),
        ):
            check_positive_int(name, number)
        for name, number in (("seed", seed), ("start_step", start_step), ("worker", worker)):
            if not isinstance(number, numbers.Integral) or isinstance(number, bool) or number < 0:
                raise ValueError(
                    f"`{name}` must be an integer of at least 0. Received: {name}={number!r}"
                )
        if worker >= num_workers:
            raise ValueError(
                f"`worker` must lie in 0..{num_workers - 1}. Received: worker={worker}"
            )
        if not 0 <= overlap < max_length:
            raise ValueError(
                "`overlap` must be at least 0 and below `max_length`. Received: "
                f"overlap={overlap}, max_length={max_length}"
            )
        stream = self._stream(
            part,
            batch_size=batch_size,
            max_length=max_length,
            overlap=overlap,
            shuffle=shuffle,
            seed=int(seed),
            worker=int(worker),
            num_workers=num_workers,
            buffer_events=buffer_events,
            transform=transform,
        )
        num_steps, skipped = stream.num_steps, start_step % stream.num_steps
        first_of_epoch = itertools.count(start_step - skipped, num_steps)

        def steps():
            if repeat:
                yield from stream.steps(start_step)
                for start in itertools.count(start_step - skipped + num_steps, num_steps):
                    yield from stream.steps(start)
            else:
                yield from stream.steps(start_step if skipped else next(first_of_epoch))

        names = self.manifest["columns"]
        if transform is not None:
            names = list(stream.read(stream.groups[0]).columns)
        batch_spec = {
            name: tf.TensorSpec((None, None), EVENT_COLUMNS[name].input_dtype) for name in names
        }
        dataset = tf.data.Dataset.from_generator(
            steps, output_signature=(batch_spec, tf.TensorSpec((), "int64"))
        )
        cardinality = tf.data.INFINITE_CARDINALITY if repeat else num_steps - skipped
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
        options = tf.data.Options()
        # Workers have their shares already.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        dataset = without_autotuning(dataset.with_options(options))
        return dataset if with_steps else dataset.map(lambda batch, step: batch)

    def _stream(
        self,
        part: str,
        *,
        batch_size: int,
        max_length: int,
        overlap: int,
        shuffle: bool,
        seed: int,
        worker: int,
        num_workers: int,
        buffer_events: int,
        transform: Callable[[Sessions], Sessions] | None,
    ) -> SessionStream:
        def windows(group: RowGroup) -> Sessions:
            rows = self._training_rows(part, group)
            if transform is not None:
                rows = transform(rows)
                rows = rows.take(np.flatnonzero(rows.lengths))
            return rows.windows(max_length, overlap=overlap)

        make = BatchSizes.by_length if shuffle else BatchSizes.of_any_length
        sizes = make(batch_size, max_length)
        groups, num_events, counts = [], [], []
        for group in self._groups:
            if transform is None:
                lengths = _training_ends(part, read_cuts(group))
                lengths = lengths[lengths > 0]
                lengths = window_lengths(lengths, max_length, overlap)
            else:
                lengths = windows(group).lengths
            if len(lengths):
                groups.append(group)
                num_events.append(int(lengths.sum()))
                counts.append(sizes.count(lengths))
        if not groups:
            raise ValueError(f"In {self.folder}: there are no rows to train on.")
        if len(groups) < num_workers:
            raise ValueError(
                f"In {self.folder}: {num_workers} workers need at least as many row groups with "
                f"rows that train. Received: {len(groups)}"
            )
        shares = share_out(np.array(num_events), num_workers)
        shares_counts = [np.array(counts)[share].sum(axis=0) for share in shares]
        steps = [sizes.num_batches(count) for count in shares_counts]
        for count, own_steps in zip(shares_counts, steps, strict=True):
            if max(steps) - own_steps > sizes.num_divisible(count):
                raise ValueError(
                    f"In {self.folder}: row groups are too unequal to give {num_workers} workers "
                    f"the same number of steps; take fewer workers. Received: {sorted(steps)} "
                    "steps"
                )
        share = shares[worker]
        share_events = np.array(num_events)[share]
        return SessionStream(
            groups=[groups[group] for group in share],
            num_events=share_events,
            # What fits in the buffer as a whole is read once.
            read=functools.cache(windows) if share_events.sum() <= buffer_events else windows,
            sizes=sizes,
            num_steps=max(steps),
            num_halved=max(steps) - steps[worker],
            max_length=max_length,
            shuffle=shuffle,
            seed=seed,
            buffer_events=buffer_events,
        )

    @functools.cached_property
    def _groups(self) -> list[RowGroup]:
        return [group for path in self._shards for group in row_groups(path)]

    def _whole_rows(self, group: RowGroup) -> Sessions:
        return read_rows(
            group,
            num_items=len(self.vocabulary),
            columns=self.manifest["columns"],
        )

    def _training_rows(self, part: str, group: RowGroup) -> Sessions:
        ends = _training_ends(part, read_cuts(group))
        rows = np.flatnonzero(ends > 0)
        return self._whole_rows(group).between(0, ends[rows], rows)

    def _concatenate(self, parts: list[Sessions]) -> Sessions:
        if parts:
            return Sessions.concatenate(parts)
        empty = {name: np.zeros(0, "int32") for name in self.manifest["columns"]}
        return Sessions(empty, np.zeros(1, "int64"), np.zeros(0, "int64"))

    def __repr__(self) -> str:
        shards = self.manifest["shards"]
        return (
            f"<Prepared: {sum(shard['rows'] for shard in shards)} rows, "
            f"{sum(shard['events'] for shard in shards)} events in {len(shards)} shards, "
            f"{len(self.vocabulary)} items>"
        )


def _training_ends(part: str, cuts: dict[str, np.ndarray]) -> np.ndarray:
    """How many events of each row train."""
    if part == "train":
        return cuts["train_end"]
    return np.where(cuts["test_at"] >= 0, cuts["test_at"], cuts["train_end"])
