"""TensorFlow, whose `tf.data` feeds models on every backend, loaded after the backend's own."""

import keras as keras  # first: PyTorch must load before TensorFlow
import tensorflow as tf

__all__ = ["datasets_under", "tf"]


def datasets_under(dataset: tf.data.Dataset) -> list[tf.data.Dataset]:
    """A dataset and all datasets that it was made of, by a private name of TensorFlow."""
    found = [dataset]
    for each in found:
        found += each._inputs()
    return found
