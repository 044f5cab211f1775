"""A tensor as an array that is only read."""

from __future__ import annotations

import keras
import numpy as np


def read_array(tensor) -> np.ndarray:
    """The values of a float32 tensor. They may be its own memory, and must not be changed.

    `keras.ops.convert_to_numpy` copies them on TensorFlow.
    """
    if keras.config.backend() == "tensorflow" and "CPU" in tensor.device:
        return np.asarray(memoryview(tensor))
    return keras.ops.convert_to_numpy(tensor)
