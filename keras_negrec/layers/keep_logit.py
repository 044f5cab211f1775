"""How likely an item is kept where it is shown."""

import keras
from keras import ops

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.backend.table_rows import lookup_rows, mark_item_table

# Adam moves all weights alike: biases would still be on their way when the encoder has learned.
_RATE = 4.0


@keras.saving.register_keras_serializable(package="keras_negrec")
class KeepLogit(keras.layers.Layer):
    """The log odds that an item that is shown is kept and not skipped.

    A Rasch model: a linear map of the context's prediction vector, the same for all items, plus a
    number of the item, its keep bias. The first keeps out of the second that some listeners skip
    more than others. Which items suit the context is not in it.

    Args:
        num_items: int. Size of the catalogue.

    Call arguments:
        inputs: float tensor of shape `(batch, num_positions, embedding_dim)`.
        item_ids: int tensor of shape `(batch, num_positions)`, ids from 1; 0 where there is none.

    Returns:
        Float tensor of shape `(batch, num_positions, 1)`.

    Raises:
        ValueError: `num_items` not a positive integer.

    Example:

    >>> layer = keras_negrec.layers.KeepLogit(num_items=100)
    >>> tuple(layer(np.ones((2, 3, 8)), np.ones((2, 3), "int32")).shape)
    (2, 3, 1)

    Reference:
        [Rasch, 1960](https://archive.org/details/probabilisticmod0000rasc)
    """

    def __init__(self, num_items, **kwargs):
        super().__init__(**kwargs)
        self.num_items = check_positive_int("num_items", num_items)
        self.row_gradients = False  # as in `ItemEmbedding`, for the keep biases

    def build(self, inputs_shape, item_ids_shape=None):
        self.dense = keras.layers.Dense(
            1,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=self.dtype_policy,
            name="dense",
        )
        self.dense.build(inputs_shape)
        self.item_bias = self.add_weight(
            name="item_bias", shape=(self.num_items,), initializer="zeros", autocast=False
        )
        mark_item_table(self.item_bias)

    def call(self, inputs, item_ids):
        rows = ops.clip(item_ids - 1, 0, self.num_items - 1)
        is_item = item_ids > 0
        # What is no item looks up a row that is looked up anyway, so that it touches no other.
        rows = ops.where(is_item, rows, ops.max(rows, initial=0))
        bias = lookup_rows(self.item_bias, rows, row_gradient=self.row_gradients) * _RATE
        bias = ops.expand_dims(ops.where(is_item, bias, 0.0), -1)
        return self.dense(inputs) + ops.cast(bias, self.compute_dtype)

    def keep_biases(self):
        """The keep bias of each item: float tensor of shape `(num_items,)`."""
        return self.item_bias * _RATE

    def compute_output_shape(self, inputs_shape, item_ids_shape):
        return (*item_ids_shape, 1)

    def get_config(self):
        return {**super().get_config(), "num_items": self.num_items}
