"""To what the lengths of batches are rounded up, so that few shapes occur."""

import keras


def length_multiple(longest, num_lengths: int = 4):
    """The multiple that lengths of at most `longest`, perhaps a tensor, are rounded up to.

    TensorFlow and PyTorch take any shape: 8, and so little padding. JAX compiles a step for each
    shape that it has not met, which takes as long as many steps: there as large a multiple of 8 as
    leaves no more than `num_lengths` different lengths.
    """
    return 8 * -(-longest // (8 * num_lengths)) if keras.config.backend() == "jax" else 8
