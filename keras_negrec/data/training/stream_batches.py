"""From rows that are read piece by piece to a dataset of padded batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.backend.tensorflow import tf
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.training.session_stream import SessionStream


def stream_batches(
    groups: Sequence, *, with_steps: bool = False, **options: Any
) -> tf.data.Dataset:
    """The batches of a `SessionStream` of these arguments, `with_steps` as `(batch, step)`."""
    stream = SessionStream(groups, **options)
    batch_spec = {
        name: tf.TensorSpec((None, None), EVENT_COLUMNS[name].input_dtype)
        for name in stream.column_names
    }
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(stream), output_signature=(batch_spec, tf.TensorSpec((), "int64"))
    )
    cardinality = tf.data.INFINITE_CARDINALITY if stream.repeat else len(stream)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    auto_shard = tf.data.Options()
    # Workers have their shares already.
    auto_shard.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    dataset = without_autotuning(dataset.with_options(auto_shard))
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


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches, whose parallelism TensorFlow does not tune while it iterates.

    The thread that tunes sleeps for up to a minute, and often the end of the iterator does not wake
    it (TensorFlow 2.21) but waits for it: an epoch of 2.7 seconds then takes 5.1.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
