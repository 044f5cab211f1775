"""From sessions in memory to padded batches."""

from __future__ import annotations

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.backend.length_multiple import length_multiple
from keras_negrec.backend.tensorflow import tf
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.training.without_autotuning import without_autotuning


def session_batches(
    sessions: Sessions,
    *,
    batch_size: int,
    max_length: int,
    overlap: int = 0,
    shuffle: bool = True,
    seed: int = 0,
) -> tf.data.Dataset:
    """Batches of whole rows, left-padded: the newest event is always in the last column.

    Rows longer than `max_length` are cut into windows, so that every event is seen. A shuffled
    batch holds rows of similar length and is only as long as they are (rounded up to a multiple
    of 8, and on JAX to one of at most 4 lengths, so that few shapes occur). The shorter its rows,
    the more of them it holds, so that all batches weigh about the same and little arithmetic goes
    into padding.

    Args:
        sessions: `Sessions`, at least one row and no empty ones.
        batch_size: int. Rows of full length in a batch; the last batches of an epoch may be
            smaller. Without `shuffle` all batches have this size.
        max_length: int. The most events in a row of a batch.
        overlap: int. How many events a window shares with the one before it: 1 for causal models,
            which would otherwise never be asked for a window's first event.
        shuffle: bool. Draw a new order at each epoch, and group rows by length; without it rows
            come in order.
        seed: int. The same seed gives the same epochs.

    Returns:
        A `tf.data.Dataset` of dicts of int32 tensors of shape `(batch, length)`: `item_ids`,
        `feedback`, and `session_ids` where the sessions have them.

    Raises:
        ValueError: no rows, an empty row, or a number that is not a positive integer.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3], [4]])
    >>> batches = keras_negrec.data.session_batches(
    ...     sessions, batch_size=2, max_length=3, shuffle=False
    ... )
    >>> next(iter(batches))["item_ids"].numpy()
    array([[1, 2, 3],
           [0, 0, 4]], dtype=int32)
    """
    check_positive_int("batch_size", batch_size)
    check_positive_int("max_length", max_length)
    if len(sessions) == 0:
        raise ValueError("`sessions` must hold at least one row. Received: none.")
    if sessions.lengths.min() == 0:
        key = sessions.keys[sessions.lengths.argmin()]
        raise ValueError(f"A session must have at least one event. Row {key!r} is empty.")
    windows = sessions.windows(max_length, overlap=overlap)
    multiple = length_multiple(max_length)
    lengths = tf.constant(windows.lengths, "int32")
    starts = tf.constant(windows.row_splits[:-1], "int64")
    columns = {
        name: tf.constant(values, EVENT_COLUMNS[name].input_dtype)
        for name, values in windows.columns.items()
    }

    def pad(rows):
        row_lengths = tf.gather(lengths, rows)
        length = tf.minimum(-(-tf.reduce_max(row_lengths) // multiple) * multiple, max_length)
        position = tf.range(length)[tf.newaxis] - (length - row_lengths[:, tf.newaxis])
        events = tf.gather(starts, rows)[:, tf.newaxis] + tf.cast(tf.maximum(position, 0), "int64")
        return {
            name: tf.where(position >= 0, tf.gather(values, events), tf.zeros((), values.dtype))
            for name, values in columns.items()
        }

    rows = without_autotuning(tf.data.Dataset.range(len(windows)))
    if not shuffle:
        return rows.batch(batch_size).map(pad, num_parallel_calls=tf.data.AUTOTUNE)
    # The longest row of each bucket but the last.
    boundaries = np.arange(multiple, max_length, multiple)
    sizes = batch_size * max_length // np.append(boundaries, max_length)
    counts = np.bincount(np.searchsorted(boundaries, windows.lengths), minlength=len(sizes))
    return (
        rows.shuffle(len(windows), seed=seed, reshuffle_each_iteration=True)
        .bucket_by_sequence_length(
            lambda row: lengths[row], list(boundaries + 1), list(sizes), no_padding=True
        )
        .apply(tf.data.experimental.assert_cardinality(int(np.sum(-(-counts // sizes)))))
        .map(pad, num_parallel_calls=tf.data.AUTOTUNE)
    )
