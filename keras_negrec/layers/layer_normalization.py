"""Layer normalization in fewer passes over memory."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="keras_negrec")
class LayerNormalization(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` over the last axis, for whose arguments see there.

    Its gradient is written out for TensorFlow.

    Reference:
        [Ba et al., 2016](https://arxiv.org/abs/1607.06450)
    """

    def call(self, inputs):
        if keras.config.backend() != "tensorflow":
            return super().call(inputs)
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        x, gamma, beta = (ops.cast(each, dtype) for each in (inputs, self.gamma, self.beta))
        return ops.cast(_on_tensorflow(x, gamma, beta, self.epsilon), self.compute_dtype)


def _on_tensorflow(x, gamma, beta, epsilon):
    all_rows = list(range(x.shape.rank - 1))

    @tf.custom_gradient
    def normalize(x, gamma, beta):
        centered = x - _mean(x)
        scale = tf.math.rsqrt(_mean(tf.square(centered)) + epsilon)
        normalized = centered * scale

        def gradient(upstream):
            of_gamma = tf.reduce_sum(upstream * normalized, all_rows)
            of_normalized = upstream * gamma
            of_x = of_normalized - _mean(of_normalized)
            of_x = (of_x - normalized * _mean(of_normalized * normalized)) * scale
            return of_x, of_gamma, tf.reduce_sum(upstream, all_rows)

        return normalized * gamma + beta, gradient

    return normalize(x, gamma, beta)


def _mean(x):
    return tf.reduce_mean(x, axis=-1, keepdims=True)
