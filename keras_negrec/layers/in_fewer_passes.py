"""Layers and an activation of Keras in fewer passes over memory, where most of their time goes."""

import math

import keras
import tensorflow as tf
from keras import ops

from keras_negrec.backend.custom_gradient import custom_gradient

_BACKEND = keras.config.backend()
if _BACKEND == "torch":
    import torch


@keras.saving.register_keras_serializable(package="keras_negrec")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout`, with 8 random bits for each value on TensorFlow and PyTorch.

    Each call drops its values at a multiple of 1 / 256: one of the two next to the rate, drawn so
    that their mean is the rate. Rates above 0.99, JAX, and PyTorch on a GPU gain nothing by it.
    """

    def call(self, inputs, training=False):
        in_bytes = _BACKEND == "tensorflow" or (_BACKEND == "torch" and inputs.device.type == "cpu")
        drops = training and 0 < self.rate <= 0.99
        if not (in_bytes and drops) or self.noise_shape is not None:
            return super().call(inputs, training=training)
        numbers, between_0_and_1 = _random_bytes(self.seed_generator.next(), ops.size(inputs))
        num_dropped = ops.floor(self.rate * 256 + between_0_and_1)
        kept = ops.reshape(numbers, ops.shape(inputs)) >= ops.cast(num_dropped - 128, "int8")
        return inputs * (ops.cast(kept, inputs.dtype) * (1 / (1 - self.rate)))


def _random_bytes(seed, size):
    """int8 numbers, all alike likely, cut out of larger ones; and one from 0 to 1 in float32."""
    if _BACKEND == "tensorflow":
        draws = tf.random.stateless_uniform(
            [(size + 3) // 4 + 1], tf.cast(seed, "int32"), None, None, tf.int32
        )
        # Cut at the end, not at the start: TensorFlow then needs no copy.
        numbers = tf.reshape(tf.bitcast(draws, tf.int8), [-1])[:size]
        return numbers, tf.cast(draws[-1], "float32") * 2.0**-32 + 0.5
    generator = torch.Generator().manual_seed(int(seed.sum()))
    draws = torch.empty((size + 7) // 8 + 1, dtype=torch.int64)
    draws.random_(-(2**63), None, generator=generator)
    return draws.view(torch.int8)[:size], draws[-1].float() * 2.0**-64 + 0.5


@keras.saving.register_keras_serializable(package="keras_negrec")
class LayerNormalization(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` over the last axis, its gradient written for TensorFlow."""

    def call(self, inputs):
        if _BACKEND != "tensorflow":
            return super().call(inputs)
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        x, gamma, beta = (ops.cast(each, dtype) for each in (inputs, self.gamma, self.beta))
        all_rows = list(range(x.shape.rank - 1))

        def mean(x):
            return tf.reduce_mean(x, axis=-1, keepdims=True)

        @custom_gradient
        def normalize(x, gamma, beta):
            centered = x - mean(x)
            scale = tf.math.rsqrt(mean(tf.square(centered)) + self.epsilon)
            normalized = centered * scale

            def gradient(upstream):
                of_gamma = tf.reduce_sum(upstream * normalized, all_rows)
                of_normalized = upstream * gamma
                of_x = of_normalized - mean(of_normalized)
                of_x = (of_x - normalized * mean(of_normalized * normalized)) * scale
                return of_x, of_gamma, tf.reduce_sum(upstream, all_rows)

            return normalized * gamma + beta, gradient

        return ops.cast(normalize(x, gamma, beta), self.compute_dtype)


@custom_gradient
def _gelu_on_tensorflow(x):
    distribution = 0.5 * tf.math.erf(x * math.sqrt(0.5)) + 0.5  # of the standard normal one

    def gradient(upstream):
        density = tf.exp(-0.5 * tf.square(x)) * (1 / math.sqrt(2 * math.pi))
        return upstream * (distribution + x * density)

    return x * distribution, gradient


gelu = _gelu_on_tensorflow if _BACKEND == "tensorflow" else keras.activations.gelu
