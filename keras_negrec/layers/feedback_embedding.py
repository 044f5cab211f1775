"""Vectors for how each event was received."""

from __future__ import annotations

import keras

from keras_negrec.layers.take_rows import take_rows


@keras.saving.register_keras_serializable(package="keras_negrec")
class FeedbackEmbedding(keras.layers.Layer):
    """Adds a learned vector for how the listener received each event.

    Each of the five feedback values has a vector of its own: a dislike is not a skip. Events
    with unknown feedback and padding share one, that of 0.

    Args:
        embeddings_initializer: initializer of the five vectors.

    Call arguments:
        inputs: float tensor of shape `(batch, length, embedding_dim)`.
        feedback: int tensor of shape `(batch, length)`, values -2 to 2.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Example:

    >>> layer = keras_negrec.layers.FeedbackEmbedding()
    >>> tuple(layer(np.zeros((2, 5, 8)), np.array([[0, 0, 1, -1, 1]] * 2)).shape)
    (2, 5, 8)

    Reference:
        [Mei et al., 2024](https://arxiv.org/abs/2406.04488)
    """

    def __init__(self, embeddings_initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer or keras.initializers.TruncatedNormal(stddev=0.02)
        )

    def build(self, inputs_shape, feedback_shape=None):
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(5, inputs_shape[-1]),
            initializer=self.embeddings_initializer,
        )

    def call(self, inputs, feedback):
        return inputs + take_rows(self.embeddings, feedback + 2)

    def compute_output_shape(self, inputs_shape, feedback_shape=None):
        return inputs_shape

    def get_config(self):
        config = super().get_config()
        config.update(
            embeddings_initializer=keras.initializers.serialize(self.embeddings_initializer)
        )
        return config
