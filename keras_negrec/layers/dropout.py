"""Dropout that draws fewer random numbers."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.backend.random_bytes import random_bytes


@keras.saving.register_keras_serializable(package="keras_negrec")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout`, with 8 random bits for each value on TensorFlow and PyTorch.

    Each call drops its values at a multiple of 1 / 256: one of the two next to the rate, drawn so
    that their mean is the rate. Those above 0.99 are Keras's own, as is all dropout on JAX and with
    PyTorch on a GPU, where nothing is to be gained. For arguments see there.
    """

    def call(self, inputs, training=False):
        backend = keras.config.backend()
        in_bytes = backend == "tensorflow" or (backend == "torch" and inputs.device.type == "cpu")
        drops = training and 0 < self.rate <= 0.99
        if not (in_bytes and drops) or self.noise_shape is not None:
            return super().call(inputs, training=training)
        numbers, between_0_and_1 = random_bytes(self.seed_generator, ops.size(inputs))
        num_dropped = ops.floor(self.rate * 256 + between_0_and_1)
        kept = ops.reshape(numbers, ops.shape(inputs)) >= ops.cast(num_dropped - 128, "int8")
        return inputs * (ops.cast(kept, inputs.dtype) * (1 / (1 - self.rate)))
