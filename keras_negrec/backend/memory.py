"""Memory that is not given back, and memory that is not copied."""

import ctypes
import os

import keras
import numpy as np

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


def keep_memory() -> None:
    """Lets glibc keep the memory of freed tensors for the next step.

    `tf.data.Dataset.from_generator` tells it to give every piece above 128 KiB back to the system
    (TensorFlow 2.21, for Python 3.11), whose pages have to be cleared when they are asked for
    again: a step of SASRec took 1.08 times as long on TensorFlow, and twice as long on PyTorch. So
    generators call this once they run. The environment variables `MALLOC_MMAP_THRESHOLD_` and
    `MALLOC_TRIM_THRESHOLD_`, where they are set, have the last word.
    """
    for name, parameter, size in (
        ("MALLOC_MMAP_THRESHOLD_", _MMAP_THRESHOLD, 1 << 25),  # the most that glibc takes
        ("MALLOC_TRIM_THRESHOLD_", _TRIM_THRESHOLD, 1 << 28),
    ):
        if name not in os.environ:
            try:
                ctypes.CDLL(None).mallopt(parameter, size)
            except (AttributeError, OSError, TypeError):  # another C library
                return


def read_array(tensor) -> np.ndarray:
    """The values of a float32 tensor as an array that must not be changed.

    It may be the tensor's own memory, which `keras.ops.convert_to_numpy` copies on TensorFlow.
    """
    if keras.config.backend() == "tensorflow" and "CPU" in tensor.device:
        return np.asarray(memoryview(tensor))
    return keras.ops.convert_to_numpy(tensor)
