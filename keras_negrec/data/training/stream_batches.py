"""From rows that are read piece by piece to a dataset of padded batches."""

from __future__ import annotations

import functools
import itertools
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.backend.tensorflow import tf
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.training.session_stream import (
    BatchSizes,
    Group,
    SessionStream,
    share_out,
    window_lengths,
)
from keras_negrec.data.training.without_autotuning import without_autotuning


def stream_batches(
    groups: Sequence[Group],
    *,
    read: Callable[[Group], Sessions],
    lengths: Callable[[Group], np.ndarray],
    columns: Sequence[str],
    source: str,
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
    """What `TrainingData.batches` describes, of any rows that come in groups.

    A group is hashable and small enough for memory. `read` gives its rows, `lengths` their lengths
    without reading the events. Messages call the rows `source`.
    """
    _check_options(
        batch_size=batch_size,
        max_length=max_length,
        overlap=overlap,
        seed=seed,
        start_step=start_step,
        worker=worker,
        num_workers=num_workers,
        buffer_events=buffer_events,
    )

    def windows(group: Group) -> Sessions:
        rows = read(group)
        if transform is not None:
            rows = transform(rows)
            rows = rows.take(np.flatnonzero(rows.lengths))
        return rows.windows(max_length, overlap=overlap)

    make = BatchSizes.by_length if shuffle else BatchSizes.of_any_length
    sizes = make(batch_size, max_length)
    filled, num_events, counts = [], [], []
    for group in groups:
        if transform is None:
            found = window_lengths(lengths(group), max_length, overlap)
        else:
            found = windows(group).lengths
        if len(found):
            filled.append(group)
            num_events.append(int(found.sum()))
            counts.append(sizes.count(found))
    if not filled:
        why = f" of which `{transform.__name__}` leaves something" if transform else ""
        raise ValueError(f"There are no rows to train on{why}. Received: {source}")
    share, num_steps, num_halved = _share_of(
        worker, num_workers, np.array(num_events), np.array(counts), sizes, source
    )
    share_events = np.array(num_events)[share]
    stream = SessionStream(
        groups=[filled[group] for group in share],
        num_events=share_events,
        # What fits in the buffer as a whole is read once.
        read=functools.cache(windows) if share_events.sum() <= buffer_events else windows,
        sizes=sizes,
        num_steps=num_steps,
        num_halved=num_halved,
        max_length=max_length,
        shuffle=shuffle,
        seed=int(seed),
        buffer_events=buffer_events,
    )
    skipped = start_step % num_steps
    first_of_epoch = itertools.count(start_step - skipped, num_steps)

    def steps():
        if repeat:
            yield from stream.steps(start_step)
            for start in itertools.count(start_step - skipped + num_steps, num_steps):
                yield from stream.steps(start)
        else:
            yield from stream.steps(start_step if skipped else next(first_of_epoch))

    names = columns if transform is None else stream.read(filled[share[0]]).column_names
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


def stream_sessions(
    sessions: Sessions,
    *,
    num_workers: int = 1,
    transform: Callable[[Sessions], Sessions] | None = None,
    **options: Any,
) -> tf.data.Dataset:
    """The batches of sessions in memory, a group for each worker."""
    check_positive_int("num_workers", num_workers)
    lengths = sessions.lengths
    if transform is None and lengths.min(initial=1) == 0:
        key = sessions.keys[lengths.argmin()]
        raise ValueError(f"A session must have at least one event. Row {key!r} is empty.")
    groups = np.array_split(np.arange(len(sessions)), num_workers)
    return stream_batches(
        range(num_workers),
        read=lambda group: sessions if num_workers == 1 else sessions.take(groups[group]),
        lengths=lambda group: lengths[groups[group]],
        columns=sessions.column_names,
        source="`sessions`",
        num_workers=num_workers,
        transform=transform,
        **options,
    )


def _share_of(
    worker: int,
    num_workers: int,
    num_events: np.ndarray,
    counts: np.ndarray,
    sizes: BatchSizes,
    source: str,
) -> tuple[np.ndarray, int, int]:
    """The groups of a worker, the steps of all, and how many of its batches are halved."""
    if len(num_events) < num_workers:
        raise ValueError(
            f"In {source}: {num_workers} workers need at least as many groups of rows to train "
            f"on. Received: {len(num_events)}"
        )
    shares = share_out(num_events, num_workers)
    share_counts = [counts[share].sum(axis=0) for share in shares]
    steps = [sizes.num_batches(count) for count in share_counts]
    for count, own_steps in zip(share_counts, steps, strict=True):
        if max(steps) - own_steps > sizes.num_divisible(count):
            raise ValueError(
                f"In {source}: groups of rows are too unequal to give {num_workers} workers the "
                f"same number of steps; take fewer workers. Received: {sorted(steps)} steps"
            )
    return shares[worker], max(steps), max(steps) - steps[worker]


def _check_options(*, overlap: int, max_length: int, worker: int, num_workers: int, **others):
    check_positive_int("max_length", max_length)
    check_positive_int("num_workers", num_workers)
    for name in ("batch_size", "buffer_events"):
        check_positive_int(name, others[name])
    for name, number in (
        ("seed", others["seed"]),
        ("start_step", others["start_step"]),
        ("worker", worker),
    ):
        if not isinstance(number, numbers.Integral) or isinstance(number, bool) or number < 0:
            raise ValueError(
                f"`{name}` must be an integer of at least 0. Received: {name}={number!r}"
            )
    if worker >= num_workers:
        raise ValueError(f"`worker` must lie in 0..{num_workers - 1}. Received: worker={worker}")
    if not 0 <= overlap < max_length:
        raise ValueError(
            "`overlap` must be at least 0 and below `max_length`. Received: "
            f"overlap={overlap}, max_length={max_length}"
        )
