"""Datasets whose iterators end as soon as their last batch is taken."""

from __future__ import annotations

from keras_negrec.backend.tensorflow import tf


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches, whose parallelism TensorFlow does not tune while it iterates.

    The thread that tunes sleeps for twice as long each time, up to a minute. Often the end of the
    iterator does not wake it (TensorFlow 2.21) but waits for it: an epoch of 2.7 seconds then takes
    5.1.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
