"""Layers inside of layers, built and alike: small kernels to begin with, and names that stay."""

import keras

from keras_negrec.layers.in_fewer_passes import LayerNormalization


def dense(policy, inputs_width, units, name, activation=None):
    """A built `keras.layers.Dense`."""
    layer = keras.layers.Dense(
        units,
        activation,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        dtype=policy,
        name=name,
    )
    layer.build((None, inputs_width))
    return layer


def norm(policy, width, name, epsilon=1e-6):
    """A built `LayerNormalization`."""
    layer = LayerNormalization(epsilon=epsilon, dtype=policy, name=name)
    layer.build((None, width))
    return layer
