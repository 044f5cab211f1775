"""Draws the items that a sampled objective compares the target with."""

import math

import keras
import numpy as np
from keras import ops

from keras_negrec.argument_checks import check_choice, check_positive_int


@keras.saving.register_keras_serializable(package="keras_negrec")
class NegativeSampler(keras.layers.Layer):
    """Draws item ids, with replacement, that a whole batch shares as negatives.

    Args:
        num_items: int. Size of the catalogue; ids `1..num_items` are drawn.
        num_negatives: int. How many are drawn at each call.
        distribution: `"uniform"`, every item alike; `"log_uniform"`, id `i` with probability
            `log((i + 1) / i) / log(num_items + 1)`, for ids in the order of falling frequency, as
            `Vocabulary.from_items` gives them; `"in_batch"`, from the targets of the batch, and so
            by popularity; or `"mixed"`, half in-batch, half uniform, so that rare items are met
            too. The last two need to know how frequent the items are, by `adapt`, which
            `training_dataset` of models calls; until then all count as equally frequent.
        seed: int or None.

    Call arguments:
        target_ids: int tensor of any shape, the targets of the batch; 0 where there is none.

    Returns:
        `negative_ids`, an int32 tensor of shape `(num_negatives,)`; then, for the logQ correction,
        the log of how often each id is expected among the negatives: two float32 tensors, of the
        shapes of `target_ids` and of `negative_ids`.

    Raises:
        ValueError: an unknown distribution, or a number that is not a positive integer.

    Example:

    >>> sampler = keras_negrec.layers.NegativeSampler(num_items=100, num_negatives=5, seed=0)
    >>> negative_ids, target_log_counts, _ = sampler(np.ones((2, 3), "int32"))
    >>> tuple(negative_ids.shape), tuple(target_log_counts.shape)
    ((5,), (2, 3))

    Reference:
        [Yi et al., 2019](https://research.google/pubs/pub48840/) on in-batch negatives;
        [Yang et al., 2020](https://doi.org/10.1145/3366424.3386195) on mixed ones.
    """

    def __init__(self, num_items, num_negatives, distribution="uniform", seed=None, **kwargs):
        super().__init__(**kwargs)
        self.num_items = check_positive_int("num_items", num_items)
        self.num_negatives = check_positive_int("num_negatives", num_negatives)
        check_choice("distribution", distribution, ("uniform", "log_uniform", "in_batch", "mixed"))
        self.distribution = distribution
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        num_in_batch = {"in_batch": num_negatives, "mixed": num_negatives // 2}
        self._num_in_batch = num_in_batch.get(distribution, 0)

    def build(self, target_ids_shape=None):
        if self._num_in_batch:
            equal = keras.initializers.Constant(1 / self.num_items)
            self.frequencies = self.add_weight(
                (self.num_items,), equal, "float32", trainable=False, name="frequencies"
            )

    def adapt(self, item_counts):
        """Tells in-batch and mixed sampling how frequent the items are as targets.

        Args:
            item_counts: array of shape `(num_items,)`. An item that never occurs counts once.

        Raises:
            ValueError: an array of another shape, or with a negative count.
        """
        item_counts = np.asarray(item_counts, "float64")
        if item_counts.shape != (self.num_items,) or item_counts.min() < 0:
            raise ValueError(
                f"`item_counts` must be {self.num_items} counts of at least 0. Received: shape "
                f"{item_counts.shape}, smallest {item_counts.min(initial=0)}"
            )
        if self._num_in_batch:
            if not self.built:
                self.build()
            self.frequencies.assign(np.maximum(item_counts, 1) / max(item_counts.sum(), 1))

    def call(self, target_ids):
        shape = (self.num_negatives,)
        uniform = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        in_batch, rest = uniform[: self._num_in_batch], uniform[self._num_in_batch :]
        if self.distribution == "log_uniform":
            rest = ops.exp(rest * math.log(self.num_items + 1))
        else:
            rest = 1.0 + rest * self.num_items
        negative_ids = ops.cast(ops.floor(rest), "int32")
        if self._num_in_batch:
            negative_ids = ops.concatenate([_choose(in_batch, target_ids), negative_ids])
        negative_ids = ops.clip(negative_ids, 1, self.num_items)
        return negative_ids, self._log_counts(target_ids), self._log_counts(negative_ids)

    def _log_counts(self, ids):
        ids = ops.maximum(ops.cast(ids, "int32"), 1)
        number = self.num_negatives
        if self.distribution == "uniform":
            return ops.full_like(ids, math.log(number / self.num_items), dtype="float32")
        if self.distribution == "log_uniform":
            share = ops.log1p(1.0 / ops.cast(ids, "float32")) / math.log(self.num_items + 1)
            return ops.log(share) + math.log(number)
        frequencies = ops.take(ops.convert_to_tensor(self.frequencies), ids - 1, axis=0)
        by_chance = (number - self._num_in_batch) / self.num_items
        return ops.log(self._num_in_batch * frequencies + by_chance)

    def compute_output_spec(self, target_ids):
        shape = (self.num_negatives,)
        return (
            keras.KerasTensor(shape, dtype="int32"),
            keras.KerasTensor(target_ids.shape, dtype="float32"),
            keras.KerasTensor(shape, dtype="float32"),
        )

    def get_config(self):
        own = ("num_items", "num_negatives", "distribution", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def _choose(uniform, target_ids):
    """One target of the batch for each number from 0 to 1; padding (0) is none."""
    target_ids = ops.reshape(ops.cast(target_ids, "int32"), (-1,))
    is_target = ops.cast(target_ids > 0, "int32")
    targets_first = ops.take(target_ids, ops.argsort(1 - is_target), axis=0)
    number = ops.cast(ops.sum(is_target), "float32")
    chosen = ops.cast(ops.floor(uniform * number), "int32")
    return ops.take(targets_first, ops.minimum(chosen, ops.size(target_ids) - 1), axis=0)
