"""Vectors of items, used for lookup and, tied, for scoring."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.argument_checks import check_positive_int


@keras.saving.register_keras_serializable(package="keras_negrec")
class ItemEmbedding(keras.layers.Layer):
    """Looks up item vectors, and with `reverse=True` scores every item with the same table.

    Ids run from 1 to `num_items`. Padding (0) gets the zero vector; the mask token
    (`num_items + 1`), where there is one, has a vector of its own. Neither has a row in the
    table, so that neither can ever be scored: column `j` of the scores belongs to item `j + 1`.

    Args:
        num_items: int. Size of the catalogue.
        embedding_dim: int. Width of the vectors.
        mask_token: bool. Whether `num_items + 1` is the mask token of a cloze task.
        embeddings_initializer: initializer of the table and of the mask token's vector.

    Call arguments:
        inputs: int tensor of any shape, ids `0..num_items` (`num_items + 1` with a mask token);
            with `reverse=True` a float tensor of shape `(..., embedding_dim)`.
        reverse: bool. Score all items instead of looking some up.

    Returns:
        Float tensor of shape `inputs.shape + (embedding_dim,)`, or with `reverse=True` of shape
        `(..., num_items)`.

    Raises:
        ValueError: `num_items` or `embedding_dim` not a positive integer.

    Example:

    >>> layer = keras_negrec.layers.ItemEmbedding(num_items=100, embedding_dim=8)
    >>> vectors = layer(np.array([[0, 7, 100]]))
    >>> tuple(vectors.shape), tuple(layer(vectors, reverse=True).shape)
    ((1, 3, 8), (1, 3, 100))

    Reference:
        [Press & Wolf, 2017](https://arxiv.org/abs/1608.05859) on tied weights.
    """

    def __init__(
        self,
        num_items,
        embedding_dim,
        mask_token=False,
        embeddings_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_items = check_positive_int("num_items", num_items)
        self.embedding_dim = check_positive_int("embedding_dim", embedding_dim)
        self.mask_token = mask_token
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer or keras.initializers.TruncatedNormal(stddev=0.02)
        )

    def build(self, inputs_shape=None):
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.num_items, self.embedding_dim),
            initializer=self.embeddings_initializer,
        )
        if self.mask_token:
            self.mask_embedding = self.add_weight(
                name="mask_embedding",
                shape=(self.embedding_dim,),
                initializer=self.embeddings_initializer.clone(),
            )

    def call(self, inputs, reverse=False):
        if reverse:
            return ops.matmul(inputs, ops.transpose(self.embeddings))
        rows = ops.clip(inputs - 1, 0, self.num_items - 1)
        # The product makes the gradient dense. TensorFlow's is sparse otherwise, and Adam squares
        # the slices of one row before it sums them: up to sqrt(n) too long a step for a row that
        # is looked up n times.
        vectors = ops.take(self.embeddings * 1.0, rows, axis=0)
        ids = ops.expand_dims(inputs, -1)
        if self.mask_token:
            mask = ops.convert_to_tensor(self.mask_embedding)  # JAX's `where` takes no variable
            vectors = ops.where(ids == self.num_items + 1, mask, vectors)
        return ops.where(ids == 0, ops.zeros_like(vectors), vectors)

    def compute_output_spec(self, inputs, reverse=False):
        shape = (
            (*inputs.shape[:-1], self.num_items) if reverse else (*inputs.shape, self.embedding_dim)
        )
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        config = super().get_config()
        config.update(
            num_items=self.num_items,
            embedding_dim=self.embedding_dim,
            mask_token=self.mask_token,
            embeddings_initializer=keras.initializers.serialize(self.embeddings_initializer),
        )
        return config
