"""Gradients on whatever backend the tests run on."""

import keras
import numpy as np


def value_and_gradient(function, inputs, dtype="float32"):
    """The scalar `function(inputs)` and its gradient, as NumPy arrays in float64."""
    inputs = keras.ops.convert_to_tensor(inputs, dtype)
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = function(inputs)
        gradient = tape.gradient(value, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    elif backend == "jax":
        import jax

        value, gradient = jax.value_and_grad(function)(inputs)
    else:
        inputs = inputs.clone().detach().requires_grad_(True)
        value = function(inputs)
        value.backward()
        gradient = inputs.grad
    return tuple(
        keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")).astype("float64")
        for x in (value, gradient)
    )


def finite_differences(function, inputs, step=1e-5):
    """Central differences of a scalar NumPy function, in float64."""
    inputs = np.array(inputs, "float64")
    gradient = np.zeros_like(inputs)
    for index in np.ndindex(inputs.shape):
        there, back = inputs.copy(), inputs.copy()
        there[index] += step
        back[index] -= step
        gradient[index] = (function(there) - function(back)) / (2 * step)
    return gradient
