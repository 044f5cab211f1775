"""A JAX training step whose gradient of one table holds the rows of the batch alone."""

from __future__ import annotations

import jax
from jax import numpy as jnp
from keras.utils import unpack_x_y_sample_weight

from keras_negrec.backend.lookup_rows import Taps
from keras_negrec.backend.row_gradients import RowGradient


def row_train_step(model, table, state, data):
    """`keras.Model.train_step` on JAX, with a row gradient for a table.

    Args:
        model: a compiled `keras.Model`.
        table: one of its trainable variables, which it reads by `lookup_rows` alone.
        state, data: as for `keras.Model.train_step` on JAX.

    Returns:
        `(logs, state)`.
    """
    trainable, non_trainable, optimizer_variables, metrics_variables = state
    x, y, sample_weight = unpack_x_y_sample_weight(data)
    place = [variable is table for variable in model.trainable_variables].index(True)
    others = [*trainable[:place], *trainable[place + 1 :]]

    def loss_of(others, tap_values):
        taps = Taps(tap_values)
        with taps():
            loss, aux = model.compute_loss_and_updates(
                [*others[:place], trainable[place], *others[place:]],
                non_trainable,
                metrics_variables,
                x,
                y,
                sample_weight,
                training=True,
                optimizer_variables=optimizer_variables,
            )
        return loss, (aux, taps)

    shapes = []
    jax.eval_shape(lambda: shapes.extend(loss_of(others, None)[1][1].shapes))
    zeros = [jnp.zeros(shape, trainable[place].dtype) for shape in shapes]

    def loss_and_rows(others, tap_values):
        loss, (aux, taps) = loss_of(others, tap_values)
        return loss, (aux, taps.rows)

    (_, (aux, rows)), (gradients, of_taps) = jax.value_and_grad(
        loss_and_rows, argnums=(0, 1), has_aux=True
    )(others, zeros)
    loss, y_pred, non_trainable, metrics_variables = aux
    width = trainable[place].shape[1:]
    gradient = RowGradient(
        jnp.concatenate([row.reshape(-1) for row in rows]),
        jnp.concatenate([value.reshape(-1, *width) for value in of_taps]),
        trainable[place].shape[0],
    )
    gradients = [*gradients[:place], gradient, *gradients[place:]]
    trainable, optimizer_variables = model.optimizer.stateless_apply(
        optimizer_variables, gradients, trainable
    )
    logs, metrics_variables = model._update_metrics_variables(
        metrics_variables, loss, x, y, y_pred, sample_weight
    )
    return logs, (trainable, non_trainable, optimizer_variables, metrics_variables)
