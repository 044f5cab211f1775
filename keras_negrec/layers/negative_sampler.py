"""Draws the items that a sampled softmax compares the target with."""

from __future__ import annotations

import math

import keras
from keras import ops

from keras_negrec.argument_checks import check_choice, check_positive_int


@keras.saving.register_keras_serializable(package="keras_negrec")
class NegativeSampler(keras.layers.Layer):
    """Draws item ids, with replacement, that a whole batch shares as negatives.

    Args:
        num_items: int. Size of the catalogue; ids `1..num_items` are drawn.
        num_negatives: int. How many are drawn at each call.
        distribution: `"uniform"`, or `"log_uniform"`, which draws id `i` with probability
            `log((i + 1) / i) / log(num_items + 1)`: it wants ids in the order of falling
            frequency, as `Vocabulary.from_items` gives them.
        seed: int or None.

    Call arguments:
        inputs: any tensor of the batch. Its values are not used.

    Returns:
        int32 tensor of shape `(num_negatives,)`.

    Raises:
        ValueError: an unknown distribution, or a number that is not a positive integer.

    Example:

    >>> sampler = keras_negrec.layers.NegativeSampler(num_items=100, num_negatives=5, seed=0)
    >>> tuple(sampler(np.zeros((2, 3))).shape)
    (5,)
    """

    def __init__(self, num_items, num_negatives, distribution="uniform", seed=None, **kwargs):
        super().__init__(**kwargs)
        self.num_items = check_positive_int("num_items", num_items)
        self.num_negatives = check_positive_int("num_negatives", num_negatives)
        check_choice("distribution", distribution, ("uniform", "log_uniform"))
        self.distribution = distribution
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        uniform = keras.random.uniform(
            (self.num_negatives,), dtype="float32", seed=self.seed_generator
        )
        if self.distribution == "uniform":
            ids = 1.0 + uniform * self.num_items
        else:
            ids = ops.exp(uniform * math.log(self.num_items + 1))
        return ops.clip(ops.cast(ops.floor(ids), "int32"), 1, self.num_items)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((self.num_negatives,), dtype="int32")

    def get_config(self):
        config = super().get_config()
        config.update(
            num_items=self.num_items,
            num_negatives=self.num_negatives,
            distribution=self.distribution,
            seed=self.seed,
        )
        return config
