"""The first values of a large table, without several times its memory."""

from __future__ import annotations

import functools

import keras
from keras import ops

_ROWS_AT_ONCE = 2**17


def initial_rows(initializer):
    """An initializer that draws a large table some rows at a time.

    On JAX and PyTorch, random initializers need up to ten times the memory of what they return;
    for a table of a million rows that is more than all its training. Tables of up to 131,072 rows
    get the values of `initializer` itself; of larger ones each part is drawn with a seed of its
    own. On TensorFlow, which needs no such help, nothing is changed.

    Args:
        initializer: Keras initializer.

    Returns:
        A function `(shape, dtype) -> tensor`, or `initializer` itself.
    """
    has_seed = isinstance(getattr(initializer, "seed", None), int)
    if not has_seed or keras.config.backend() == "tensorflow":
        return initializer
    return functools.partial(_in_parts, initializer)


def _in_parts(initializer, shape, dtype=None):
    if shape[0] <= _ROWS_AT_ONCE:
        return initializer(shape, dtype=dtype)
    parts = []
    for start in range(0, shape[0], _ROWS_AT_ONCE):
        config = {**initializer.get_config(), "seed": initializer.seed + start}
        part = type(initializer).from_config(config)
        rows = min(_ROWS_AT_ONCE, shape[0] - start)
        parts.append(part((rows, *shape[1:]), dtype=dtype))
    return ops.concatenate(parts, axis=0)
