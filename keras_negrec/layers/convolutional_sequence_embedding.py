"""Caser's convolutions over the newest events."""

import keras
from keras import ops

from keras_negrec.argument_checks import check_positive_int


@keras.saving.register_keras_serializable(package="keras_negrec")
class ConvolutionalSequenceEmbedding(keras.layers.Layer):
    """At every position, convolutions over the window of events that ends there.

    Horizontal filters (ReLU) of every height from 1 to `window` span the whole width of the
    vectors and are max-pooled over the window: patterns of so many events in a row. Vertical
    filters are weighted sums of its vectors. What lies before the first event counts as zeros.

    Args:
        window: int. Events that a position looks at, its own included (`L` in the paper).
        horizontal_filters: int. Filters of each height.
        vertical_filters: int. Weighted sums of the window.

    Call arguments:
        inputs: float tensor of shape `(batch, length, embedding_dim)`, zero vectors for padding.

    Returns:
        Float tensor `(batch, length, window * horizontal_filters + embedding_dim *
        vertical_filters)`.

    Raises:
        ValueError: a number that is not a positive integer.

    Example:

    >>> layer = keras_negrec.layers.ConvolutionalSequenceEmbedding(window=5, vertical_filters=4)
    >>> tuple(layer(np.zeros((2, 7, 8))).shape)
    (2, 7, 112)

    Reference:
        [Tang & Wang, 2018](https://arxiv.org/abs/1809.07426)
    """

    def __init__(self, window=5, horizontal_filters=16, vertical_filters=4, **kwargs):
        super().__init__(**kwargs)
        self.window = check_positive_int("window", window)
        self.horizontal_filters = check_positive_int("horizontal_filters", horizontal_filters)
        self.vertical_filters = check_positive_int("vertical_filters", vertical_filters)

    def build(self, inputs_shape):
        def convolution(width, *size, **options):
            layer = keras.layers.Conv1D(*size, dtype=self.dtype_policy, **options)
            layer.build((None, None, width))
            return layer

        width, filters = inputs_shape[-1], self.horizontal_filters
        self.horizontal = [
            convolution(width, filters, height, activation="relu", name=f"horizontal_{height}")
            for height in range(1, self.window + 1)
        ]
        self.vertical = convolution(1, self.vertical_filters, self.window, name="vertical")

    def call(self, inputs):
        batch, length, width = ops.shape(inputs)[0], ops.shape(inputs)[1], inputs.shape[-1]
        windows = ops.pad(inputs, [[0, 0], [self.window - 1, 0], [0, 0]])
        features = []
        for height, convolution in enumerate(self.horizontal, start=1):
            responses = convolution(windows)  # (batch, length + window - height, filters)
            features.append(ops.max_pool(responses, self.window - height + 1, 1, "valid"))
        columns = ops.reshape(ops.transpose(windows, (0, 2, 1)), (batch * width, -1, 1))
        sums = ops.reshape(self.vertical(columns), (batch, width, length, self.vertical_filters))
        sums = ops.transpose(sums, (0, 2, 1, 3))  # (batch, length, embedding_dim, filters)
        features.append(ops.reshape(sums, (batch, length, width * self.vertical_filters)))
        return ops.concatenate(features, axis=-1)

    def compute_output_shape(self, inputs_shape):
        width = self.window * self.horizontal_filters + inputs_shape[-1] * self.vertical_filters
        return (*inputs_shape[:-1], width)

    def get_config(self):
        own = ("window", "horizontal_filters", "vertical_filters")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
