"""Vectors for how each event was received."""

import keras

from keras_negrec.backend.table_rows import lookup_rows


@keras.saving.register_keras_serializable(package="keras_negrec")
class FeedbackEmbedding(keras.layers.Layer):
    """Adds a learned vector for how the listener received each event.

    Each of the five feedback values has a vector of its own: a dislike is not a skip. Events
    with unknown feedback and padding share one, that of 0.

    Call arguments:
        inputs: float tensor of shape `(batch, length, embedding_dim)`, as is what is returned.
        feedback: int tensor of shape `(batch, length)`, values -2 to 2.

    Example:

    >>> layer = keras_negrec.layers.FeedbackEmbedding()
    >>> tuple(layer(np.zeros((2, 5, 8)), np.array([[0, 0, 1, -1, 1]] * 2)).shape)
    (2, 5, 8)

    Reference:
        [Mei et al., 2024](https://arxiv.org/abs/2406.04488)
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._initializer = keras.initializers.TruncatedNormal(stddev=0.02)

    def build(self, inputs_shape, feedback_shape=None):
        self.embeddings = self.add_weight(
            (5, inputs_shape[-1]), self._initializer, name="embeddings"
        )

    def call(self, inputs, feedback):
        return inputs + lookup_rows(self.embeddings, feedback + 2)

    def compute_output_shape(self, inputs_shape, feedback_shape=None):
        return inputs_shape

    def get_config(self):
        return super().get_config()  # of its own, Keras makes none with a dtype policy
