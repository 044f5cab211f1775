"""Dropout that draws fewer random numbers."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="keras_negrec")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout`, with 16 random bits for each value on TensorFlow, not 32.

    The rate is rounded to a multiple of 1 / 65,536, and what is left is scaled by the inverse of
    what that leaves. For other arguments see there.
    """

    def call(self, inputs, training=False):
        is_plain = keras.config.backend() != "tensorflow" or self.noise_shape is not None
        if is_plain or not training or self.rate == 0:
            return super().call(inputs, training=training)
        num_dropped = min(round(self.rate * 2**16), 2**16 - 1)  # of the values of 16 bits
        size, seed = tf.size(inputs), tf.cast(self.seed_generator.next(), "int32")
        bits = tf.random.stateless_uniform([(size + 1) // 2], seed, None, None, tf.int32)
        bits = tf.reshape(tf.bitcast(bits, tf.int16), [-1])[:size]
        kept = tf.reshape(bits, tf.shape(inputs)) >= num_dropped - 2**15
        return tf.where(kept, inputs * (2**16 / (2**16 - num_dropped)), 0)
