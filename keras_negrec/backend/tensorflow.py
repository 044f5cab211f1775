"""TensorFlow, whose `tf.data` feeds models on every backend, loaded after the backend's own."""

import keras as keras  # first: PyTorch must load before TensorFlow
import tensorflow as tf

__all__ = ["tf"]
