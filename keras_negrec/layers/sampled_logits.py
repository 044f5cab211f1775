"""Logits of the target and of sampled negatives."""

from __future__ import annotations

import math

import keras
from keras import ops

from keras_negrec.argument_checks import check_choice, check_positive_int

_NEVER = -1e4  # exp of it is 0, and it fits in float16


@keras.saving.register_keras_serializable(package="keras_negrec")
class SampledLogits(keras.layers.Layer):
    """Scores the target and shared negatives, so that a softmax over them stands for the whole.

    Class 0 is the target, classes 1 to N the negatives. From each logit the log of the item's
    expected count in the sample is taken off (the logQ correction), so that frequent negatives
    are not pushed down for being drawn often. A negative that is the target of a position
    (an accidental hit) is removed at that position.

    Args:
        num_items: int. Size of the catalogue.
        distribution: what the negatives were drawn from, as for `NegativeSampler`.

    Call arguments:
        predictions: float tensor of shape `(batch, num_positions, embedding_dim)`.
        target_embeddings: float tensor of the shape of `predictions`.
        target_ids: int tensor of shape `(batch, num_positions)`; 0 where there is no target.
        negative_embeddings: float tensor of shape `(num_negatives, embedding_dim)`.
        negative_ids: int tensor of shape `(num_negatives,)`.

    Returns:
        Float tensor of shape `(batch, num_positions, 1 + num_negatives)`.

    Example:

    >>> layer = keras_negrec.layers.SampledLogits(num_items=100)
    >>> vectors, ids = np.ones((2, 3, 8)), np.ones((2, 3), "int32")
    >>> tuple(layer(vectors, vectors, ids, np.ones((5, 8)), np.arange(2, 7)).shape)
    (2, 3, 6)

    Reference:
        [Bengio & Senecal, 2008](https://ieeexplore.ieee.org/document/4443871);
        [Yi et al., 2019](https://research.google/pubs/pub48840/) for the correction.
    """

    def __init__(self, num_items, distribution="uniform", **kwargs):
        super().__init__(**kwargs)
        self.num_items = check_positive_int("num_items", num_items)
        check_choice("distribution", distribution, ("uniform", "log_uniform"))
        self.distribution = distribution

    def call(self, predictions, target_embeddings, target_ids, negative_embeddings, negative_ids):
        num_negatives = negative_ids.shape[0]
        target = ops.sum(predictions * target_embeddings, axis=-1, keepdims=True)
        negative = ops.matmul(predictions, ops.transpose(negative_embeddings))
        target = target - ops.expand_dims(self._log_count(target_ids, num_negatives, target), -1)
        negative = negative - self._log_count(negative_ids, num_negatives, negative)
        hit = ops.equal(ops.expand_dims(target_ids, -1), negative_ids)
        negative = ops.where(hit, ops.cast(_NEVER, negative.dtype), negative)
        return ops.concatenate([target, negative], axis=-1)

    def _log_count(self, ids, num_negatives, like):
        """Log of how often each id is expected among the negatives, in the dtype of `like`."""
        ids = ops.cast(ops.maximum(ids, 1), "float32")
        if self.distribution == "uniform":
            log_probability = ops.full_like(ids, -math.log(self.num_items))
        else:
            log_probability = ops.log(ops.log1p(1.0 / ids)) - math.log(math.log(self.num_items + 1))
        return ops.cast(log_probability + math.log(num_negatives), like.dtype)

    def compute_output_shape(
        self,
        predictions_shape,
        target_embeddings_shape,
        target_ids_shape,
        negative_embeddings_shape,
        negative_ids_shape,
    ):
        return (*predictions_shape[:-1], 1 + negative_ids_shape[0])

    def get_config(self):
        config = super().get_config()
        config.update(num_items=self.num_items, distribution=self.distribution)
        return config
