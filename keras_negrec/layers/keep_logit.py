"""How likely an item is kept where it is shown."""

import keras
from keras import ops

from keras_negrec.argument_checks import check_fraction, check_positive_int
from keras_negrec.backend.table_rows import lookup_rows, mark_item_table, read_rows

# Adam moves all weights alike: biases would still be on their way when the encoder has learned.
_RATE = 4.0


@keras.saving.register_keras_serializable(package="keras_negrec")
class KeepLogit(keras.layers.Layer):
    """The log odds that an item that is shown is kept and not skipped.

    The sum of a number of the listener, a linear map of the context's prediction vector, and one of
    the item, its keep bias: a Rasch model, in which the first keeps out of the second that some
    listeners skip more than others. With `context_dim` the product of a vector of the context
    and one of the item is added to these: which items suit the context.

    All of it is one product of columns, see `history_columns` and `item_columns`.

    Args:
        num_items: int. Size of the catalogue.
        context_dim: int or None. Width of the vectors of context and item.
        dropout: float from 0 up to but not including 1. For the vectors of items.

    Call arguments:
        inputs: float tensor of shape `(batch, num_positions, embedding_dim)`.
        item_ids: int tensor of shape `(batch, num_candidates)`, ids from 1; 0 where there is none.

    Returns:
        Float tensor of shape `(batch, num_positions, num_candidates)`.

    Raises:
        ValueError: `num_items` or `context_dim` not a positive integer.

    Example:

    >>> layer = keras_negrec.layers.KeepLogit(num_items=100, context_dim=4)
    >>> tuple(layer(np.ones((2, 3, 8)), np.ones((2, 5), "int32")).shape)
    (2, 3, 5)

    Reference:
        [Rasch, 1960](https://archive.org/details/probabilisticmod0000rasc)
    """

    def __init__(self, num_items, context_dim=None, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_items = check_positive_int("num_items", num_items)
        if context_dim is not None:
            check_positive_int("context_dim", context_dim)
        self.context_dim = context_dim
        self.dropout = check_fraction("dropout", dropout)
        self.row_gradients = False  # as in `ItemEmbedding`, for the tables of items
        self._drop = keras.layers.Dropout(self.dropout)

    def build(self, inputs_shape, item_ids_shape=None):
        self.dense = keras.layers.Dense(
            1 + (self.context_dim or 0),
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=self.dtype_policy,
            name=f"{self.name}_dense",  # a layer of its own where `history_columns` is in a graph
        )
        self.dense.build(inputs_shape)
        self.item_bias = self.add_weight(
            name="item_bias", shape=(self.num_items,), initializer="zeros", autocast=False
        )
        mark_item_table(self.item_bias)
        if self.context_dim:
            short = keras.initializers.TruncatedNormal(stddev=0.05)
            shape = (self.num_items, self.context_dim)
            self.item_vectors = self.add_weight(shape, short, name="item_vectors", autocast=False)
            mark_item_table(self.item_vectors)

    def call(self, inputs, item_ids, training=False):
        rows = ops.clip(item_ids - 1, 0, self.num_items - 1)
        is_item = item_ids > 0
        # What is no item looks up a row that is looked up anyway, so that it touches no other.
        rows = ops.where(is_item, rows, ops.max(rows, initial=0))

        def look_up(table):
            return lookup_rows(table, rows, row_gradient=self.row_gradients)

        items = self._as_columns(look_up, lambda vectors: self._drop(vectors, training=training))
        items = ops.where(is_item[..., None], items, 0.0)
        return ops.matmul(self.history_columns(inputs), ops.transpose(items, (0, 2, 1)))

    def history_columns(self, inputs):
        """Columns of contexts: `(..., 2 + context_dim)`, from `(..., embedding_dim)`."""
        columns = self.dense(inputs)
        return ops.concatenate([ops.ones_like(columns[..., :1]), columns], axis=-1)

    def item_columns(self, rows=None):
        """Columns of all items, or of some rows, 0 the first: `(num_items, 2 + context_dim)`.

        Their product with those of a context is the log odds.
        """
        return self._as_columns(
            lambda table: ops.convert_to_tensor(table) if rows is None else read_rows(table, rows)
        )

    def _as_columns(self, read, drop=lambda vectors: vectors):
        bias = ops.expand_dims(read(self.item_bias) * _RATE, -1)
        columns = [bias, ops.ones_like(bias)]
        if self.context_dim:
            columns.append(drop(read(self.item_vectors)))
        return ops.cast(ops.concatenate(columns, axis=-1), self.compute_dtype)

    def compute_output_shape(self, inputs_shape, item_ids_shape):
        return (*inputs_shape[:-1], item_ids_shape[-1])

    def get_config(self):
        own = ("num_items", "context_dim", "dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
