"""From rows that are read piece by piece to batches, in an order that can be taken up again."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.backend.length_multiple import length_multiple
from keras_negrec.backend.memory import keep_memory
from keras_negrec.backend.tensorflow import datasets_under, tf
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.sessions import Sessions

_READERS = 2  # threads; reading one pool while another is sent takes no more


def stream_batches(
    groups: Sequence, *, with_steps: bool = False, **options: Any
) -> tf.data.Dataset:
    """The batches of a `SessionStream` of these arguments, `with_steps` as `(batch, step)`."""
    stream = SessionStream(groups, **options)
    batch_spec = {
        name: tf.TensorSpec((None, None), EVENT_COLUMNS[name].input_dtype)
        for name in stream.column_names
    }

    def one_pass():
        keep_memory()
        yield from stream

    dataset = tf.data.Dataset.from_generator(
        one_pass, output_signature=(batch_spec, tf.TensorSpec((), "int64"))
    )
    dataset.session_stream = stream
    cardinality = tf.data.INFINITE_CARDINALITY if stream.repeat else len(stream)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    auto_shard = tf.data.Options()
    # Workers have their shares already.
    auto_shard.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    dataset = without_autotuning(dataset.with_options(auto_shard))
    return dataset if with_steps else dataset.map(lambda batch, step: batch)


def streams_of(data) -> list[SessionStream]:
    """The streams that a dataset is made of, whatever was done to their batches since."""
    if not isinstance(data, tf.data.Dataset):
        return []
    return [d.session_stream for d in datasets_under(data) if hasattr(d, "session_stream")]


def stream_sessions(sessions: Sessions, *, num_workers: int = 1, **options: Any) -> tf.data.Dataset:
    """The batches of sessions in memory, a group for each worker."""
    check_positive_int("num_workers", num_workers)
    lengths = sessions.lengths
    if options.get("transform") is None and lengths.min(initial=1) == 0:
        key = sessions.keys[lengths.argmin()]
        raise ValueError(f"A session must have at least one event. Row {key!r} is empty.")
    groups = np.array_split(np.arange(len(sessions)), num_workers)
    return stream_batches(
        range(num_workers),
        read=lambda group: sessions if num_workers == 1 else sessions.take(groups[group]),
        lengths=lambda group: lengths[groups[group]],
        columns=sessions.column_names,
        source="`sessions`",
        fingerprint=sessions.fingerprint,
        num_workers=num_workers,
        **options,
    )


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches, whose parallelism TensorFlow does not tune while it iterates.

    The thread that tunes sleeps for up to a minute, and often the end of the iterator does not wake
    it (TensorFlow 2.21) but waits for it: an epoch of 2.7 seconds then takes 5.1.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


class SessionStream:
    """What `TrainingData.batches` describes, of rows that come in groups: arrays, each iteration.

    An epoch takes the groups in a random order and collects them until there are `buffer_events`
    events. These are cut into windows, shuffled and sent as batches, while the next ones are read;
    windows that fill no batch stay for the next round. What is sent depends on the seed and the
    epoch alone. All workers have `num_steps` steps in an epoch: one that would have fewer sends
    some batches in two halves.

    Args:
        groups: each hashable and small enough for memory.
        read: gives the rows of a group.
        lengths: gives their lengths without reading the events.
        columns: names of the columns of events.
        source: what messages call the rows.
        fingerprint: gives a hash of all rows.

    Attributes:
        epoch: int or None. The epoch of the pass that was begun last.
        next_epoch: int. The epoch of the next pass. It can be set, to take up a training.
    """

    def __init__(
        self,
        groups: Sequence,
        *,
        read: Callable[[Any], Sessions],
        lengths: Callable[[Any], np.ndarray],
        columns: Sequence[str],
        source: str,
        fingerprint: Callable[[], str],
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
    ):
        check_positive_int("batch_size", batch_size)
        check_positive_int("max_length", max_length)
        check_positive_int("num_workers", num_workers)
        check_positive_int("buffer_events", buffer_events)
        for name, number in (("seed", seed), ("start_step", start_step), ("worker", worker)):
            if not isinstance(number, numbers.Integral) or isinstance(number, bool) or number < 0:
                raise ValueError(
                    f"`{name}` must be an integer of at least 0. Received: {name}={number!r}"
                )
        if worker >= num_workers:
            raise ValueError(f"`worker` must lie in 0..{num_workers - 1}. Received: {worker=}")
        if not 0 <= overlap < max_length:
            raise ValueError(
                "`overlap` must be at least 0 and below `max_length`. Received: "
                f"{overlap=}, {max_length=}"
            )
        self._max_length, self._shuffle, self._seed = max_length, shuffle, int(seed)
        self._start_step, self.repeat, self._buffer_events = start_step, repeat, buffer_events
        self._settings = {
            "batch_size": batch_size,
            "max_length": max_length,
            "overlap": overlap,
            "shuffle": shuffle,
            "seed": int(seed),
            "worker": worker,
            "num_workers": num_workers,
            "buffer_events": buffer_events,
            "transform": transform and transform.__name__,
        }
        self._fingerprint = fingerprint
        # A bucket of similar lengths for each of these, its longest row, or one of any length; and
        # how many rows make a batch of it: all batches hold about as many events.
        multiple = length_multiple(max_length) if shuffle else max_length
        self._longest = np.append(np.arange(multiple, max_length, multiple), max_length)
        self._batch_rows = batch_size * max_length // self._longest

        def windows(group) -> Sessions:
            rows = read(group)
            if transform is not None:
                rows = transform(rows)
                rows = rows.take(np.flatnonzero(rows.lengths))
            return rows.windows(max_length, overlap=overlap)

        filled, num_events, counts = [], [], []
        for group in groups:
            if transform is None:
                found = _window_lengths(lengths(group), max_length, overlap)
            else:
                found = windows(group).lengths
            if len(found):
                filled.append(group)
                num_events.append(int(found.sum()))
                buckets = np.searchsorted(self._longest, found)
                counts.append(np.bincount(buckets, minlength=len(self._longest)))
        if not filled:
            why = f" of which `{transform.__name__}` leaves something" if transform else ""
            raise ValueError(f"There are no rows to train on{why}. Received: {source}")
        if len(filled) < num_workers:
            raise ValueError(
                f"In {source}: {num_workers} workers need at least as many groups of rows to train "
                f"on. Received: {len(filled)}"
            )
        shares = _share_out(np.array(num_events), num_workers)
        share_counts = [np.sum([counts[group] for group in share], axis=0) for share in shares]
        steps = [int(np.sum(-(-count // self._batch_rows))) for count in share_counts]
        self.num_steps, self._num_halved = max(steps), max(steps) - steps[worker]
        for count, own_steps in zip(share_counts, steps, strict=True):
            whole, rest = np.divmod(count, self._batch_rows)
            if max(steps) - own_steps > np.sum(whole * (self._batch_rows > 1) + (rest > 1)):
                raise ValueError(
                    f"In {source}: groups of rows are too unequal to give {num_workers} workers "
                    "the same number of steps; take fewer workers. Received: "
                    f"{sorted(steps)} steps"
                )
        self._groups = [(filled[group], num_events[group]) for group in shares[worker]]
        # What fits in the buffer as a whole is read once.
        is_small = sum(events for _, events in self._groups) <= buffer_events
        self._windows = functools.cache(windows) if is_small else windows
        self.column_names = columns
        if transform is not None:
            self.column_names = self._windows(self._groups[0][0]).column_names
        self._skipped = start_step % self.num_steps
        self.epoch: int | None = None
        self.next_epoch = start_step // self.num_steps

    @property
    def has_whole_epochs(self) -> bool:
        """Whether each pass is the epoch after the one before, from its first step to its last."""
        return not self.repeat and not self._skipped

    def description(self) -> dict[str, Any]:
        """What the batches depend on: two streams that agree in it give the same ones."""
        return self._settings | {"num_steps": self.num_steps, "data": self._fingerprint()}

    def __len__(self) -> int:
        """The steps of a pass that does not repeat."""
        return self.num_steps - self._skipped

    def __iter__(self) -> Iterator[tuple[dict[str, np.ndarray], int]]:
        """The batches of one pass, each with its step, counted from the first of epoch 0."""
        epoch = self._start_step // self.num_steps
        if self.has_whole_epochs:
            epoch = self.next_epoch
            self.next_epoch += 1
        self.epoch = epoch
        yield from self._steps(epoch, self._skipped)
        while self.repeat:
            epoch += 1
            yield from self._steps(epoch)

    def _steps(self, epoch: int, skipped: int = 0) -> Iterator[tuple[dict[str, np.ndarray], int]]:
        multiple = length_multiple(self._max_length)
        for nth, (windows, rows) in enumerate(self._batches(epoch)):
            if nth >= skipped:
                longest = int((windows.row_splits[rows + 1] - windows.row_splits[rows]).max())
                length = min(-(-longest // multiple) * multiple, self._max_length)
                yield windows.padded(length, rows), epoch * self.num_steps + nth

    def _batches(self, epoch: int) -> Iterator[tuple[Sessions, np.ndarray]]:
        """The rows of each batch among some windows."""
        random = np.random.default_rng([self._seed, epoch])
        to_halve = self._num_halved
        carried: list[Sessions] = []
        pools = self._pools(random)
        with ThreadPoolExecutor(_READERS) as readers:
            pending = readers.map(self._windows, pools[0])
            for nth in range(1, len(pools) + 1):
                windows = Sessions.concatenate([*carried, *pending])
                is_last = nth == len(pools)
                if not is_last:
                    pending = readers.map(self._windows, pools[nth])
                batches, left = self._divide(windows, random, is_last)
                for rows in batches:
                    if to_halve and len(rows) > 1:
                        to_halve -= 1
                        middle = len(rows) // 2
                        yield windows, rows[:middle]
                        yield windows, rows[middle:]
                    else:
                        yield windows, rows
                carried = [windows.take(left)]

    def _pools(self, random: np.random.Generator) -> list[list]:
        """The groups that are in memory together, in the order of the epoch."""
        order = random.permutation(len(self._groups)) if self._shuffle else range(len(self._groups))
        pools: list[list] = []
        pool_events = self._buffer_events
        for group, num_events in (self._groups[nth] for nth in order):
            if pool_events >= self._buffer_events:
                pools.append([])
                pool_events = 0
            pools[-1].append(group)
            pool_events += num_events
        return pools

    def _divide(
        self, windows: Sessions, random: np.random.Generator, is_last: bool
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Batches of the windows, and the windows that fill none (of the last ones: none)."""
        order = random.permutation(len(windows)) if self._shuffle else np.arange(len(windows))
        buckets = np.searchsorted(self._longest, windows.lengths)[order]
        batches: list[np.ndarray] = []
        left = []
        for bucket, size in enumerate(self._batch_rows):
            rows = order[buckets == bucket]
            end = len(rows) if is_last else len(rows) // size * size
            batches += [rows[start : min(start + size, end)] for start in range(0, end, size)]
            left.append(rows[end:])
        if self._shuffle:
            batches = [batches[nth] for nth in random.permutation(len(batches))]
        return batches, np.concatenate(left)


def _window_lengths(lengths: np.ndarray, max_length: int, overlap: int) -> np.ndarray:
    """The lengths of the windows that `Sessions.windows` cuts, in any order."""
    step = max_length - overlap
    counts = np.maximum(1, -(-(lengths - overlap) // step))
    oldest = np.minimum(lengths - (counts - 1) * step, max_length)
    return np.append(oldest, np.full(np.sum(counts - 1), max_length))


def _share_out(num_events: np.ndarray, num_workers: int) -> list[np.ndarray]:
    """Which groups each worker takes: each group once, and about as many events for all."""
    loads = np.zeros(num_workers, "int64")
    worker_of = np.empty(len(num_events), int)
    for group in np.argsort(-num_events, kind="stable"):
        worker_of[group] = loads.argmin()
        loads[worker_of[group]] += num_events[group]
    return [np.flatnonzero(worker_of == worker) for worker in range(num_workers)]
