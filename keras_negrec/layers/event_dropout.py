"""Hides some events of a history in training."""

import keras
from keras import ops

from keras_negrec.argument_checks import check_fraction


@keras.saving.register_keras_serializable(package="keras_negrec")
class EventDropout(keras.layers.Layer):
    """Turns a share of the events into padding, anew at each training step.

    It helps where the order of events says little and the data are small. The oldest event of a row
    stays, so that each position has something to predict from. Only training changes anything.

    Args:
        rate: float from 0 up to but not including 1.
        max_id: int or None. Larger ids, such as the mask token, are never dropped.
        seed: int or None.

    Call arguments:
        item_ids: int tensor of shape `(batch, length)`, 0 for padding; as is what is returned.

    Raises:
        ValueError: a rate outside of its range.

    Example:

    >>> layer = keras_negrec.layers.EventDropout(rate=0.5, seed=0)
    >>> kept = layer(np.ones((100, 100), "int32"), training=True)
    >>> 4000 < int(np.asarray(kept).sum()) < 6000
    True
    """

    def __init__(self, rate, max_id=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate = check_fraction("rate", rate)
        self.max_id = max_id
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, item_ids, training=False):
        if not training or self.rate == 0:
            return item_ids
        shape = ops.shape(item_ids)
        uniform = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        oldest = ops.cumsum(ops.cast(item_ids > 0, "int32"), axis=1) == 1
        dropped = ops.logical_and(uniform < self.rate, ops.logical_not(oldest))
        if self.max_id is not None:
            dropped = ops.logical_and(dropped, item_ids <= self.max_id)
        return ops.where(dropped, 0, item_ids)

    def compute_output_spec(self, item_ids, training=False):
        return keras.KerasTensor(item_ids.shape, dtype=item_ids.dtype)

    def get_config(self):
        own = {"rate": self.rate, "max_id": self.max_id, "seed": self.seed}
        return {**super().get_config(), **own}
