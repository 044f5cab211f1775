"""A JAX training step whose gradients of tables hold the rows of the batch alone."""

from __future__ import annotations

import jax
from jax import numpy as jnp
from keras.utils import unpack_x_y_sample_weight

from keras_negrec.backend.keras_private import update_metrics_variables
from keras_negrec.backend.lookup_rows import Taps
from keras_negrec.backend.row_gradients import RowGradient


def row_train_step(model, tables, state, data):
    """`keras.Model.train_step` on JAX, with row gradients for some tables.

    The model reads these variables by `lookup_rows` alone. Those that are not trained are passed
    over.
    """
    trainable, non_trainable, optimizer_variables, metrics_variables = state
    x, y, sample_weight = unpack_x_y_sample_weight(data)
    ids = {id(table) for table in tables}
    is_table = [id(variable) in ids for variable in model.trainable_variables]
    table_values = [value for value, yes in zip(trainable, is_table, strict=True) if yes]
    others = [value for value, yes in zip(trainable, is_table, strict=True) if not yes]

    def in_order(of_tables, of_others):
        of_tables, of_others = iter(of_tables), iter(of_others)
        return [next(of_tables if yes else of_others) for yes in is_table]

    def loss_of(others, tap_values):
        taps = Taps(tap_values)
        with taps():
            loss, aux = model.compute_loss_and_updates(
                in_order(table_values, others),
                non_trainable,
                metrics_variables,
                x,
                y,
                sample_weight,
                training=True,
                optimizer_variables=optimizer_variables,
            )
        return loss, (aux, taps)

    noted = []
    jax.eval_shape(lambda: noted.append(loss_of(others, None)[1][1]))
    [noted] = noted
    zeros = [jnp.zeros(shape, dtype) for shape, dtype in noted.specs]

    def loss_and_rows(others, tap_values):
        loss, (aux, taps) = loss_of(others, tap_values)
        return loss, (aux, taps.rows)

    (_, (aux, rows)), (gradients, of_taps) = jax.value_and_grad(
        loss_and_rows, argnums=(0, 1), has_aux=True
    )(others, zeros)
    loss, y_pred, non_trainable, metrics_variables = aux

    def row_gradient(table):
        mine = [i for i, looked_up in enumerate(noted.tables) if looked_up is table]
        return RowGradient(
            jnp.concatenate([rows[i].reshape(-1) for i in mine]),
            jnp.concatenate([of_taps[i].reshape(-1, *table.shape[1:]) for i in mine]),
            table.shape[0],
        )

    of_tables = [
        row_gradient(variable)
        for variable, yes in zip(model.trainable_variables, is_table, strict=True)
        if yes
    ]
    trainable, optimizer_variables = model.optimizer.stateless_apply(
        optimizer_variables, in_order(of_tables, gradients), trainable
    )
    logs, metrics_variables = update_metrics_variables(
        model, metrics_variables, loss, x, y, y_pred, sample_weight
    )
    return logs, (trainable, non_trainable, optimizer_variables, metrics_variables)
