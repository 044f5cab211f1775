"""Large tables of which a training step reads and changes a few rows.

A row gradient holds some rows of a table, one perhaps several times: `tf.IndexedSlices` on
TensorFlow, a sparse tensor on PyTorch, a `RowGradient` on JAX.
"""

import contextlib
import threading
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops
from keras.utils import unpack_x_y_sample_weight

from keras_negrec.backend.keras_private import update_metrics_variables

_BACKEND = keras.config.backend()
if _BACKEND == "jax":
    import jax
    from jax import numpy as jnp
elif _BACKEND == "torch":
    import torch

_local = threading.local()


class RowGradient(NamedTuple):
    """A gradient on JAX: `values[i]` of row `rows[i]`; rows past the last count for nothing."""

    rows: Any  # int32 (n,)
    values: Any  # (n, ...)
    num_rows: int


def mark_item_table(variable) -> None:
    """Says that a trainable variable has a row for each item: its gradient may hold some alone."""
    variable.is_item_table = True


def is_item_table(variable) -> bool:
    return getattr(variable, "is_item_table", False)


def lookup_rows(table, rows, *, row_gradient: bool = False):
    """Rows of a trainable table: a tensor of shape `rows.shape + table.shape[1:]`.

    Args:
        table: `keras.Variable`; for row gradients, one made with `autocast=False`.
        rows: int tensor of any shape.
        row_gradient: bool. Whether the table's gradient holds these rows alone; on JAX it does
            inside of `row_train_step`.
    """
    if not row_gradient:
        # TensorFlow's gradient of a look-up is sparse, and Adam squares the slices of one row
        # before it sums them: up to sqrt(n) too long a step for a row that is looked up n times.
        # The product makes it dense.
        return ops.take(table * 1.0, rows, axis=0)
    if _BACKEND == "jax":
        return _noted(table, rows, jnp.take(table.value, rows, axis=0))
    if _BACKEND == "torch":
        if len(table.shape) == 1:
            flat = torch.gather(table.value, 0, rows.reshape(-1).long(), sparse_grad=True)
            return flat.reshape(rows.shape)
        return torch.nn.functional.embedding(rows, table.value, sparse=True)
    return tf.nn.embedding_lookup(table.value, rows)


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


def row_train_step(model, tables, state, data):
    """`keras.Model.train_step` on JAX, with row gradients for some tables.

    JAX has no sparse gradients, and a dense one is as large as the table. So zeros are added to
    what is looked up: their gradient is that of the rows. The model reads these tables by
    `lookup_rows` alone; those that are not trained are passed over.
    """
    trainable, non_trainable, optimizer_variables, metrics_variables = state
    x, y, sample_weight = unpack_x_y_sample_weight(data)
    table_ids = {id(table) for table in tables}
    others = [
        None if id(variable) in table_ids else value  # None has no gradient
        for variable, value in zip(model.trainable_variables, trainable, strict=True)
    ]
    lookups: list[tuple] = []

    def loss_of(others, zeros):
        with _noting_lookups(zeros) as noted:
            loss, aux = model.compute_loss_and_updates(
                [a if b is None else b for a, b in zip(trainable, others, strict=True)],
                non_trainable,
                metrics_variables,
                x,
                y,
                sample_weight,
                training=True,
                optimizer_variables=optimizer_variables,
            )
        lookups[:] = noted
        return loss, (aux, [rows for _, rows, _ in noted])

    jax.eval_shape(loss_of, others, None)  # notes the shapes
    zeros = [jnp.zeros(found.shape, found.dtype) for _, _, found in lookups]
    (_, (aux, rows)), (gradients, of_zeros) = jax.value_and_grad(
        loss_of, argnums=(0, 1), has_aux=True
    )(others, zeros)
    loss, y_pred, non_trainable, metrics_variables = aux

    def row_gradient(table):
        mine = [i for i, (looked_up, _, _) in enumerate(lookups) if looked_up is table]
        return RowGradient(
            jnp.concatenate([rows[i].reshape(-1) for i in mine]),
            jnp.concatenate([of_zeros[i].reshape(-1, *table.shape[1:]) for i in mine]),
            table.shape[0],
        )

    gradients = [
        row_gradient(variable) if gradient is None else gradient
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
    ]
    trainable, optimizer_variables = model.optimizer.stateless_apply(
        optimizer_variables, gradients, trainable
    )
    logs, metrics_variables = update_metrics_variables(
        model, metrics_variables, loss, x, y, y_pred, sample_weight
    )
    return logs, (trainable, non_trainable, optimizer_variables, metrics_variables)


@contextlib.contextmanager
def _noting_lookups(zeros):
    """Collects `(table, rows, found)` of each look-up in this thread, and adds to what is found."""
    _local.noted, _local.zeros = [], zeros
    try:
        yield _local.noted
    finally:
        _local.noted = None


def _noted(table, rows, found):
    noted = getattr(_local, "noted", None)
    if noted is None:
        return found
    noted.append((table, rows, found))
    return found if _local.zeros is None else found + _local.zeros[len(noted) - 1]
