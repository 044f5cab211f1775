"""From the encoder's output to the vectors that score items."""

import keras

from keras_negrec.layers.in_fewer_passes import LayerNormalization, gelu


@keras.saving.register_keras_serializable(package="keras_negrec")
class PredictionHead(keras.layers.Layer):
    """Turns the encoder's outputs into prediction vectors, whose products with items' are scores.

    Args:
        transform: bool. Whether by a dense layer (gelu) and a normalization, or not at all.

    Call arguments:
        inputs: float tensor of shape `(..., embedding_dim)`, as is what is returned.

    Example:

    >>> head = keras_negrec.layers.PredictionHead()
    >>> tuple(head(np.zeros((2, 5, 8))).shape)
    (2, 5, 8)
    """

    def __init__(self, transform=True, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.transform = transform

    def build(self, inputs_shape):
        if self.transform:
            self.dense = keras.layers.Dense(
                inputs_shape[-1],
                gelu,
                kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
                dtype=self.dtype_policy,
                name="dense",
            )
            self.dense.build(inputs_shape)
            self.norm = LayerNormalization(epsilon=1e-6, dtype=self.dtype_policy, name="norm")
            self.norm.build(inputs_shape)

    def call(self, inputs):
        return self.norm(self.dense(inputs)) if self.transform else inputs

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def get_config(self):
        return {**super().get_config(), "transform": self.transform}
