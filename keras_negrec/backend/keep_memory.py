"""Memory that stays with the process between the steps of a training on PyTorch."""

from __future__ import annotations

import ctypes
import functools
import os

import keras

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
