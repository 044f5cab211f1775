"""Activations whose gradients are written out for TensorFlow."""

from __future__ import annotations

import math

import keras
import tensorflow as tf


def in_fewer_passes(activation):
    """The same function, made of fewer passes over memory, in which most of its time goes.

    `keras.activations.gelu` on TensorFlow is; other activations and backends have nothing to gain.
    Values and gradients are equal.
    """
    if activation is keras.activations.gelu and keras.config.backend() == "tensorflow":
        return _gelu
    return activation


@tf.custom_gradient
def _gelu(x):
    distribution = 0.5 * tf.math.erf(x * math.sqrt(0.5)) + 0.5  # of the standard normal one

    def gradient(upstream):
        density = tf.exp(-0.5 * tf.square(x)) * (1 / math.sqrt(2 * math.pi))
        return upstream * (distribution + x * density)

    return x * distribution, gradient
