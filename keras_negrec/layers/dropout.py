"""Dropout that draws fewer random numbers."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="keras_negrec")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout`, with 8 random bits for each value on TensorFlow, not 32.

    Each call drops its values at a multiple of 1 / 256: one of the two next to the rate, drawn so
    that their mean is the rate. Those above 0.99 are Keras's own. For arguments see there.
    """

    def call(self, inputs, training=False):
        is_plain = keras.config.backend() != "tensorflow" or self.noise_shape is not None
        if is_plain or not training or self.rate == 0 or self.rate > 0.99:
            return super().call(inputs, training=training)
        size, seed = tf.size(inputs), tf.cast(self.seed_generator.next(), "int32")
        draws = tf.random.stateless_uniform([1 + (size + 3) // 4], seed, None, None, tf.int32)
        # An int32 is four int8, each from -128 to 127, and the first one is for the rounding.
        bits = tf.reshape(tf.bitcast(draws[1:], tf.int8), [-1])[:size]
        between_0_and_1 = tf.cast(draws[0], "float32") * 2.0**-32 + 0.5
        num_dropped = tf.floor(self.rate * 256 + between_0_and_1)
        kept = tf.reshape(bits, tf.shape(inputs)) >= tf.cast(num_dropped - 128, tf.int8)
        return tf.where(kept, inputs * (1 / (1 - self.rate)), 0)
