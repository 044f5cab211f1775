"""Cosines between contexts and candidate items of the same session."""

import keras
from keras import ops

from keras_negrec.argument_checks import check_choice


@keras.saving.register_keras_serializable(package="keras_negrec")
class FeedbackSimilarity(keras.layers.Layer):
    """Similarity of each context with each candidate of its own row.

    Its output is what `keras_negrec.losses.NegativeFeedbackContrastive` takes. A zero vector
    (padding) has similarity 0 with everything; the loss leaves it out by its label.

    Args:
        similarity: `"cosine"`, or `"dot"`, the product that also scores items. Products are not
            bounded, and want a temperature of about 1 in the loss.

    Call arguments:
        contexts: float tensor of shape `(batch, num_contexts, embedding_dim)`.
        candidates: float tensor of shape `(batch, num_candidates, embedding_dim)`.

    Returns:
        Float tensor of shape `(batch, num_contexts, num_candidates)`.

    Raises:
        ValueError: an unknown similarity; contexts and candidates of different widths.

    Example:

    >>> layer = keras_negrec.layers.FeedbackSimilarity()
    >>> tuple(layer(np.ones((2, 3, 8)), np.ones((2, 5, 8))).shape)
    (2, 3, 5)

    Reference:
        [Seshadri & Knees, 2023](https://arxiv.org/abs/2309.11623)
    """

    def __init__(self, similarity="cosine", **kwargs):
        super().__init__(**kwargs)
        check_choice("similarity", similarity, ("cosine", "dot"))
        self.similarity = similarity

    def build(self, contexts_shape, candidates_shape):
        if contexts_shape[-1] != candidates_shape[-1]:
            raise ValueError(
                "Contexts and candidates must have the same width. Received: contexts "
                f"{contexts_shape}, candidates {candidates_shape}"
            )

    def call(self, contexts, candidates):
        if self.similarity == "cosine":
            contexts, candidates = unit(contexts), unit(candidates)
        return ops.matmul(contexts, ops.transpose(candidates, (0, 2, 1)))

    def compute_output_shape(self, contexts_shape, candidates_shape):
        return (contexts_shape[0], contexts_shape[1], candidates_shape[1])

    def get_config(self):
        return {**super().get_config(), "similarity": self.similarity}


def unit(vectors):
    """Vectors of length 1; zero vectors stay, and have finite gradients."""
    wide = ops.cast(vectors, "float32")  # squares overflow or vanish in half precision
    squares = ops.sum(ops.square(wide), axis=-1, keepdims=True)
    return ops.cast(wide * ops.rsqrt(ops.maximum(squares, 1e-12)), vectors.dtype)
