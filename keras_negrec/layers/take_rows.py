"""Looks up rows of a small table."""

from __future__ import annotations

from keras import ops


def take_rows(table, rows):
    """Rows of a trainable table, with a gradient of all of it.

    TensorFlow's own gradient of a look-up is sparse, and Adam squares the slices of one row before
    it sums them: up to sqrt(n) too long a step for a row that is looked up n times. The product
    makes it dense.

    Args:
        table: `keras.Variable` of shape `(num_rows, dim)`.
        rows: int tensor of any shape.

    Returns:
        Tensor of shape `rows.shape + (dim,)`.
    """
    return ops.take(table * 1.0, rows, axis=0)
