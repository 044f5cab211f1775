"""A tensor as an array that is only read."""

from __future__ import annotations

import keras
import numpy as np


def read_array(tensor) -> np.ndarray:
    """The values of a tensor. They may be its own memory, and must not be changed.

    `keras.ops.convert_to_numpy` copies them on TensorFlow.

    Args:
        tensor: float32 tensor that is no part of a graph.

    Returns:
        float32 array of its shape.
    """
    if keras.config.backend() == "tensorflow" and "CPU" in tensor.device:
        return np.asarray(memoryview(tensor))
    return keras.ops.convert_to_numpy(tensor)
