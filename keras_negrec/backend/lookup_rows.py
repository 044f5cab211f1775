"""Looks up rows of a table so that its gradient holds these rows alone."""

from __future__ import annotations

import contextlib
import threading

import keras
import tensorflow as tf

_BACKEND = keras.config.backend()
if _BACKEND == "jax":
    from jax import numpy as jnp
elif _BACKEND == "torch":
    import torch

_local = threading.local()


class Taps:
    """Where a JAX function notes its look-ups: which rows of which table, and what came of each.

    JAX has no sparse gradients, and a dense one is as large as the table. So a function's look-ups
    are added to `values`, zeros of their shapes: the gradient of these is that of the rows. Without
    `values` the shapes are noted, and nothing is added.
    """

    def __init__(self, values=None):
        self.values = values
        self.tables = []
        self.rows = []
        self.specs = []  # shape and dtype

    def add(self, table, rows, found):
        self.tables.append(table)
        self.rows.append(rows)
        self.specs.append((found.shape, found.dtype))
        return found if self.values is None else found + self.values[len(self.rows) - 1]

    @contextlib.contextmanager
    def __call__(self):
        _local.taps = self
        try:
            yield self
        finally:
            _local.taps = None


def lookup_rows(table, rows):
    """Rows of a table; its gradient is a row gradient (`keras_negrec.backend.row_gradients`).

    On JAX that holds inside of `row_train_step` alone; elsewhere its gradient is dense.

    Args:
        table: `keras.Variable` of shape `(num_rows, dim)` or `(num_rows,)`, made with
            `autocast=False`.
        rows: int tensor of any shape.

    Returns:
        Tensor of shape `rows.shape + (dim,)` or `rows.shape`, in the table's dtype.
    """
    if _BACKEND == "jax":
        found = jnp.take(table.value, rows, axis=0)
        taps = getattr(_local, "taps", None)
        return found if taps is None else taps.add(table, rows, found)
    if _BACKEND == "torch":
        if len(table.shape) == 1:
            flat = torch.gather(table.value, 0, rows.reshape(-1).long(), sparse_grad=True)
            return flat.reshape(rows.shape)
        return torch.nn.functional.embedding(rows, table.value, sparse=True)
    return tf.nn.embedding_lookup(table.value, rows)
