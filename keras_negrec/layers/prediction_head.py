"""From the encoder's output to the vectors that score items."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.backend.in_fewer_passes import in_fewer_passes
from keras_negrec.layers.layer_normalization import LayerNormalization


@keras.saving.register_keras_serializable(package="keras_negrec")
class PredictionHead(keras.layers.Layer):
    """Picks positions of a sequence and turns them into prediction vectors.

    A prediction vector lives in the space of the item vectors: its product with the item table
    is the score of each item. Working on the picked positions alone keeps the scoring that
    follows to where there is a target.

    Args:
        transform: bool. Whether a dense layer and a normalization turn the picked positions into
            prediction vectors; otherwise they are these vectors as they are.
        activation: activation of the dense layer.

    Call arguments:
        inputs: float tensor of shape `(batch, length, embedding_dim)`.
        positions: optional int tensor of shape `(batch, num_positions)`, columns of `inputs`.
            All columns in order when not given.

    Returns:
        Float tensor of shape `(batch, num_positions, embedding_dim)`.

    Example:

    >>> head = keras_negrec.layers.PredictionHead()
    >>> tuple(head(np.zeros((2, 5, 8)), np.array([[4], [4]])).shape)
    (2, 1, 8)
    """

    def __init__(self, transform=True, activation="gelu", **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.transform = transform
        self.activation = keras.activations.get(activation)

    def build(self, inputs_shape, positions_shape=None):
        if self.transform:
            self.dense = keras.layers.Dense(
                inputs_shape[-1],
                activation=in_fewer_passes(self.activation),
                kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
                dtype=self.dtype_policy,
                name="dense",
            )
            self.dense.build(inputs_shape)
            self.norm = LayerNormalization(epsilon=1e-6, dtype=self.dtype_policy, name="norm")
            self.norm.build(inputs_shape)

    def call(self, inputs, positions=None):
        if positions is not None:
            batch, length = ops.shape(inputs)[0], ops.shape(inputs)[1]
            rows = ops.expand_dims(ops.arange(batch, dtype="int32") * length, -1)
            positions = ops.cast(positions, "int32") + rows
            inputs = ops.take(ops.reshape(inputs, (-1, inputs.shape[-1])), positions, axis=0)
        return self.norm(self.dense(inputs)) if self.transform else inputs

    def compute_mask(self, inputs, previous_mask=None):
        return None  # the positions that were picked are no sequence

    def compute_output_shape(self, inputs_shape, positions_shape=None):
        if positions_shape is None:
            return inputs_shape
        return (*positions_shape, inputs_shape[-1])

    def get_config(self):
        config = super().get_config()
        config.update(
            transform=self.transform, activation=keras.activations.serialize(self.activation)
        )
        return config
