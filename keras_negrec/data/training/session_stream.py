"""Batches of rows that are read while they are needed, in an order that can be taken up again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from keras_negrec.backend.length_multiple import length_multiple

if TYPE_CHECKING:
    from keras_negrec.data.sessions import Sessions

_READERS = 2  # threads; reading one pool while another is sent takes no more

Group = TypeVar("Group")


@dataclass(frozen=True)
class BatchSizes:
    """Which rows go together in a batch: those of similar length, or any.

    There is a bucket for each of `longest`, its longest row, which rise. `rows` is how many rows a
    batch of it holds.
    """

    longest: np.ndarray
    rows: np.ndarray

    @classmethod
    def by_length(cls, batch_size: int, max_length: int) -> BatchSizes:
        """Buckets of as many lengths each; all batches hold about as many events."""
        multiple = length_multiple(max_length)
        longest = np.append(np.arange(multiple, max_length, multiple), max_length)
        return cls(longest, batch_size * max_length // longest)

    @classmethod
    def of_any_length(cls, batch_size: int, max_length: int) -> BatchSizes:
        return cls(np.array([max_length]), np.array([batch_size]))

    def buckets(self, lengths: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.longest, lengths)

    def count(self, lengths: np.ndarray) -> np.ndarray:
        """How many of the rows fall into each bucket."""
        return np.bincount(self.buckets(lengths), minlength=len(self.longest))

    def num_batches(self, counts: np.ndarray) -> int:
        return int(np.sum(-(-counts // self.rows)))

    def num_divisible(self, counts: np.ndarray) -> int:
        """How many of these batches have two rows or more."""
        return int(np.sum((counts // self.rows) * (self.rows > 1) + (counts % self.rows > 1)))


@dataclass(frozen=True)
class SessionStream(Generic[Group]):
    """The batches of one worker, epoch by epoch, made of windows of at most `max_length` events.

    An epoch takes the groups of rows in a random order and collects them until there are
    `buffer_events` events. These are cut into windows, shuffled and sent as batches, while the
    next ones are read; windows that fill no batch stay for the next round. What is sent depends
    on the seed and the epoch alone.

    All workers have `num_steps` steps in an epoch: one that would have fewer sends `num_halved`
    batches in two halves. `num_events` tells the events of each group, of which `read` makes the
    windows.
    """

    groups: Sequence[Group]
    num_events: np.ndarray
    read: Callable[[Group], Sessions]
    sizes: BatchSizes
    num_steps: int
    num_halved: int
    max_length: int
    shuffle: bool
    seed: int
    buffer_events: int

    def steps(self, start: int) -> Iterator[tuple[dict[str, np.ndarray], int]]:
        """The batches from step `start` to the end of its epoch, each with its step.

        Steps are counted from the first of epoch 0.
        """
        epoch, skipped = divmod(start, self.num_steps)
        for nth, (windows, rows) in enumerate(self._batches(epoch)):
            if nth >= skipped:
                length = self._padded_length(windows, rows)
                yield windows.padded(length, rows), epoch * self.num_steps + nth

    def _padded_length(self, windows: Sessions, rows: np.ndarray) -> int:
        longest = int((windows.row_splits[rows + 1] - windows.row_splits[rows]).max())
        multiple = length_multiple(self.max_length)
        return min(-(-longest // multiple) * multiple, self.max_length)

    def _batches(self, epoch: int) -> Iterator[tuple[Sessions, np.ndarray]]:
        """The rows of each batch among some windows."""
        random = np.random.default_rng([self.seed, epoch])
        to_halve = self.num_halved
        carried: list[Sessions] = []
        pools = self._pools(random)
        with ThreadPoolExecutor(_READERS) as readers:
            pending = self._submit(readers, pools[0])
            for nth in range(1, len(pools) + 1):
                parts = [*carried, *(part.result() for part in pending)]
                windows = parts[0].concatenate(parts)
                is_last = nth == len(pools)
                if not is_last:
                    pending = self._submit(readers, pools[nth])
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

    def _pools(self, random: np.random.Generator) -> list[list[Group]]:
        """The groups that are in memory together, in the order of the epoch."""
        order = random.permutation(len(self.groups)) if self.shuffle else range(len(self.groups))
        pools: list[list[Group]] = []
        events = self.buffer_events
        for group in order:
            if events >= self.buffer_events:
                pools.append([])
                events = 0
            pools[-1].append(self.groups[group])
            events += self.num_events[group]
        return pools

    def _submit(self, readers: ThreadPoolExecutor, pool: list[Group]) -> list[Future]:
        return [readers.submit(self.read, group) for group in pool]

    def _divide(
        self, windows: Sessions, random: np.random.Generator, is_last: bool
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Batches of the windows, and the windows that fill none (of the last ones: none)."""
        order = random.permutation(len(windows)) if self.shuffle else np.arange(len(windows))
        buckets = self.sizes.buckets(windows.lengths)[order]
        batches: list[np.ndarray] = []
        left = []
        for bucket, size in enumerate(self.sizes.rows):
            rows = order[buckets == bucket]
            end = len(rows) if is_last else len(rows) // size * size
            batches += [rows[start : min(start + size, end)] for start in range(0, end, size)]
            left.append(rows[end:])
        if self.shuffle:
            batches = [batches[nth] for nth in random.permutation(len(batches))]
        return batches, np.concatenate(left)


def window_lengths(lengths: np.ndarray, max_length: int, overlap: int) -> np.ndarray:
    """The lengths of the windows that `Sessions.windows` cuts, in any order."""
    step = max_length - overlap
    counts = np.maximum(1, -(-(lengths - overlap) // step))
    oldest = np.minimum(lengths - (counts - 1) * step, max_length)
    return np.append(oldest, np.full(np.sum(counts - 1), max_length))


def share_out(num_events: np.ndarray, num_workers: int) -> list[np.ndarray]:
    """Which groups each worker takes: each group once, and about as many events for all."""
    loads = np.zeros(num_workers, "int64")
    worker_of = np.empty(len(num_events), int)
    for group in np.argsort(-num_events, kind="stable"):
        worker_of[group] = loads.argmin()
        loads[worker_of[group]] += num_events[group]
    return [np.flatnonzero(worker_of == worker) for worker in range(num_workers)]
