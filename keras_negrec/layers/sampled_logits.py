"""Logits of the target and of sampled negatives."""

import keras
from keras import ops

from keras_negrec.layers.item_embedding import MASKED_LOGIT


@keras.saving.register_keras_serializable(package="keras_negrec")
class SampledLogits(keras.layers.Layer):
    """Scores the target and negatives, so that they can stand for the whole catalogue.

    Class 0 is the target, classes 1 to N the negatives that the batch shares, and after them,
    where given, the row's own: its skipped items. The log counts of `NegativeSampler` are taken off
    the logits (the logQ correction), so that frequent negatives are not pushed down for being drawn
    often; a row's own negatives are certain to be there, and the log of 1 is 0. A negative that is
    the target of a position (an accidental hit) is removed at that position.

    Call arguments:
        predictions: float tensor of shape `(batch, num_positions, embedding_dim)`.
        target_embeddings: float tensor of the shape of `predictions`.
        target_ids: int tensor of shape `(batch, num_positions)`; 0 where there is no target.
        negative_embeddings: float tensor of shape `(num_negatives, embedding_dim)`.
        negative_ids: int tensor of shape `(num_negatives,)`.
        target_log_counts, negative_log_counts: optional float tensors of the shapes of the ids.
        own_embeddings: optional float tensor of shape `(batch, num_own, embedding_dim)`.
        own_ids: int tensor of shape `(batch, num_own)`, given with `own_embeddings`; 0 is none.

    Returns:
        Tensor `(batch, num_positions, 1 + num_negatives + num_own)`, float32 with log counts.

    Example:

    >>> layer = keras_negrec.layers.SampledLogits()
    >>> vectors, ids = np.ones((2, 3, 8)), np.ones((2, 3), "int32")
    >>> tuple(layer(vectors, vectors, ids, np.ones((5, 8)), np.arange(2, 7)).shape)
    (2, 3, 6)

    Reference:
        [Bengio & Senecal, 2008](https://ieeexplore.ieee.org/document/4443871);
        [Yi et al., 2019](https://research.google/pubs/pub48840/) for the correction.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)  # log counts stay in float32

    def call(
        self,
        predictions,
        target_embeddings,
        target_ids,
        negative_embeddings,
        negative_ids,
        target_log_counts=None,
        negative_log_counts=None,
        own_embeddings=None,
        own_ids=None,
    ):
        predictions = ops.cast(predictions, self.compute_dtype)
        target_embeddings = ops.cast(target_embeddings, self.compute_dtype)
        negative_embeddings = ops.cast(negative_embeddings, self.compute_dtype)
        target = ops.sum(predictions * target_embeddings, axis=-1, keepdims=True)
        negative = ops.matmul(predictions, ops.transpose(negative_embeddings))
        if negative_log_counts is not None:
            # Log counts of rare items are large: in half precision they would swallow the rest.
            target, negative = ops.cast(target, "float32"), ops.cast(negative, "float32")
            negative = negative - negative_log_counts
        if target_log_counts is not None:
            target = target - ops.expand_dims(target_log_counts, -1)
        target_ids = ops.expand_dims(target_ids, -1)
        logits = [target, _remove(ops.equal(target_ids, negative_ids), negative)]
        if own_embeddings is not None:
            own_embeddings = ops.cast(own_embeddings, self.compute_dtype)
            own = ops.matmul(predictions, ops.transpose(own_embeddings, (0, 2, 1)))
            own = ops.cast(own, target.dtype)
            own_ids = ops.expand_dims(own_ids, 1)
            hit_or_none = ops.logical_or(ops.equal(target_ids, own_ids), ops.equal(own_ids, 0))
            logits.append(_remove(hit_or_none, own))
        return ops.concatenate(logits, axis=-1)

    def get_config(self):
        return super().get_config()  # of its own, Keras makes none with a dtype policy


def _remove(hit, logits):
    return ops.where(hit, ops.cast(MASKED_LOGIT, logits.dtype), logits)
