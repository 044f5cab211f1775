"""Gradients that hold some rows of a table, and tables that are changed in these rows alone.

A row gradient is what `keras_negrec.backend.lookup_rows` leads to: `tf.IndexedSlices` on
TensorFlow, a sparse tensor on PyTorch, a `RowGradient` on JAX. A row may be in it several times.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

_BACKEND = keras.config.backend()
if _BACKEND == "jax":
    from jax import numpy as jnp
elif _BACKEND == "torch":
    import torch


class RowGradient(NamedTuple):
    """A gradient on JAX: `values[i]` of row `rows[i]`; rows past the last count for nothing."""

    rows: Any  # int32 (n,)
    values: Any  # (n, ...)
    num_rows: int


def unique_rows(gradient):
    """The rows of a row gradient, `(n,)`, each once, and their summed values, `(n, ...)`.

    None for other gradients. On JAX, whose shapes are fixed, there are as many rows as before: the
    last ones may be past the table's last row, which `write_rows` passes over.
    """
    if isinstance(gradient, RowGradient):
        rows, index = jnp.unique(
            gradient.rows,
            size=gradient.rows.shape[0],
            fill_value=gradient.num_rows,
            return_inverse=True,
        )
        return rows, jnp.zeros_like(gradient.values).at[index].add(gradient.values)
    if isinstance(gradient, tf.IndexedSlices):
        rows, index = tf.unique(gradient.indices)
        return rows, tf.math.unsorted_segment_sum(gradient.values, index, tf.size(rows))
    if _BACKEND == "torch" and gradient.is_sparse:
        gradient = gradient.coalesce()
        return gradient.indices()[0], gradient.values()
    return None


def row_values(gradient):
    """The values of a row gradient, a row's perhaps in parts; other gradients as they are."""
    if isinstance(gradient, RowGradient | tf.IndexedSlices):
        return gradient.values
    if _BACKEND == "torch" and gradient.is_sparse:
        return gradient._values()  # `values` wants each row once
    return gradient


def with_rows(gradient, rows, values):
    """A row gradient of other rows and values for the same table."""
    if isinstance(gradient, RowGradient):
        return RowGradient(rows, values, gradient.num_rows)
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(values, rows, gradient.dense_shape)
    return torch.sparse_coo_tensor(rows[None], values, gradient.shape, check_invariants=False)


def read_rows(variable, rows):
    """Rows of a variable: on TensorFlow without reading, and so copying, all of it."""
    value = variable.value if isinstance(variable, keras.Variable) else variable
    if _BACKEND == "jax":
        return jnp.take(value, rows, axis=0, mode="clip")
    if _BACKEND == "torch":
        return value[rows]
    return tf.nn.embedding_lookup(value, rows)


def write_rows(variable, rows, values):
    """Gives rows of a variable, each named once, new values; rows past the last are passed over."""
    value = variable.value if isinstance(variable, keras.Variable) else variable
    if _BACKEND == "jax":
        variable.assign(value.at[rows].set(values, mode="drop", unique_indices=True))
    elif _BACKEND == "torch":
        value[rows] = values
    else:
        value.scatter_update(tf.IndexedSlices(values, rows))
