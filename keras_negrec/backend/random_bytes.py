"""Random numbers of 8 bits."""

from __future__ import annotations

import keras
import tensorflow as tf

_BACKEND = keras.config.backend()
if _BACKEND == "torch":
    import torch


def random_bytes(seed_generator: keras.random.SeedGenerator, size):
    """Numbers from -128 to 127, all alike likely, on TensorFlow and on PyTorch on a CPU.

    They are the parts of larger ones, of which as few are drawn as are needed. The seed generator's
    next seed is taken. On TensorFlow `size` may be an int32 tensor.

    Returns:
        int8 tensor of shape `(size,)`, and one more random number, from 0 to 1, in float32.
    """
    seed = seed_generator.next()
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
