"""Memory that is not given back, and memory that is not copied."""

import ctypes
import functools
import os

import keras
import numpy as np

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


@functools.cache  # once a process, however often a model is trained
def keep_memory() -> None:
    """Lets glibc keep the memory of freed tensors, on PyTorch.

    By default it gives large pieces back to the system and asks for them again at each step, whose
    pages then have to be cleared: a step of SASRec took twice as long. The environment variables
    `MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_`, where they are set, have the last word.
    """
    if keras.config.backend() != "torch":
        return
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
