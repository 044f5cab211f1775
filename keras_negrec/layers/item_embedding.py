"""Vectors of items, used for lookup and, tied, for scoring."""

import contextlib
import threading

import keras
import numpy as np
from keras import ops

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.backend.linear_crossentropy import linear_crossentropy
from keras_negrec.backend.table_rows import lookup_rows, mark_item_table, read_rows

MASKED_LOGIT = -1e4  # of what must not count: exp of it is 0, and it fits in float16
_ROWS_AT_ONCE = 2**17
_local = threading.local()


@contextlib.contextmanager
def look_up_elsewhere(lookups: list[tuple]):
    """Within it, rows come from functions in place of the tables, in this thread alone.

    Args:
        lookups: pairs of an `ItemEmbedding` and a function that does what its `lookup` does.
    """
    _local.lookups = {id(embedding): function for embedding, function in lookups}
    try:
        yield
    finally:
        del _local.lookups


@keras.saving.register_keras_serializable(package="keras_negrec")
class ItemEmbedding(keras.layers.Layer):
    """Looks up item vectors, and with `reverse=True` scores every item with the same table.

    Ids run from 1 to `num_items`. Padding (0) gets the zero vector; the mask token
    (`num_items + 1`), where there is one, has a vector of its own. Neither has a row in the
    table, so that neither can ever be scored: column `j` of the scores belongs to item `j + 1`.

    With `num_features`, an item's vector is a vector of its own plus a learned linear map of its
    features. Once `adapt` has been told which items occur in the training data, the others have no
    own vector, so that an item without a single play is placed by its features and not by noise.
    Nor does such an item compete in training.

    Args:
        num_items: int. Size of the catalogue.
        embedding_dim: int. Width of the vectors.
        mask_token: bool. Whether `num_items + 1` is the mask token of a cloze task.
        embeddings_initializer: initializer of the table and of the mask token's vector.
        num_features: int or None. How many numbers describe each item, given to `set_features`.

    Call arguments:
        inputs: int tensor of any shape, ids `0..num_items` (`num_items + 1` with a mask token);
            with `reverse=True` a float tensor of shape `(..., embedding_dim)`.
        reverse: bool. Score all items instead of looking some up.
        target_ids: optional int tensor of shape `inputs.shape[:-1]`, with `reverse=True`: of all
            scores only the cross-entropy of these items is wanted, 0 where the id is 0. The
            scores are then never in memory all at once, and none where there is no target.

    Returns:
        Float tensor of shape `inputs.shape + (embedding_dim,)`, or with `reverse=True` of shape
        `(..., num_items)`; with `target_ids` float32 of their shape.

    Attributes:
        row_gradients: bool. Whether gradients of the table hold the rows that were looked up and no
            others, as `LazyAdam` takes them. Models of this package set it.

    Raises:
        ValueError: `num_items`, `embedding_dim` or `num_features` not a positive integer.

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
        num_features=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_items = check_positive_int("num_items", num_items)
        self.embedding_dim = check_positive_int("embedding_dim", embedding_dim)
        self.mask_token = mask_token
        if num_features is not None:
            num_features = check_positive_int("num_features", num_features)
        self.num_features = num_features
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer or keras.initializers.TruncatedNormal(stddev=0.02)
        )
        self.row_gradients = False

    def build(self, inputs_shape=None):
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.num_items, self.embedding_dim),
            initializer=_in_parts(self.embeddings_initializer),
            autocast=False,  # which would copy all of it before a look-up of some rows
        )
        mark_item_table(self.embeddings)
        if self.mask_token:
            initializer = self.embeddings_initializer.clone()
            self.mask_embedding = self.add_weight(
                (self.embedding_dim,), initializer, name="mask_embedding"
            )
        if self.num_features is not None:
            # Of standardized features this makes vectors as short as the items' own.
            short = keras.initializers.TruncatedNormal(stddev=0.02 / self.num_features**0.5)
            self.feature_kernel = self.add_weight(
                (self.num_features, self.embedding_dim), short, name="feature_kernel"
            )
            fixed = {"initializer": "zeros", "trainable": False}
            self.features = self.add_weight(
                name="features", shape=(self.num_items, self.num_features), **fixed
            )
            self.occurs = self.add_weight(name="occurs", shape=(self.num_items,), **fixed)

    def set_features(self, features):
        """Stores what is known of each item; it is saved with the layer.

        Args:
            features: float array of shape `(num_items, num_features)`, row `j` for item `j + 1`.
                Scale them to a mean of 0 and a deviation of 1.

        Raises:
            ValueError: a layer without `num_features`; an array of another shape, or with values
                that are not finite.
        """
        features = np.asarray(features, "float32")
        expected = (self.num_items, self.num_features)
        if features.shape != expected:
            raise ValueError(
                f"`features` must have shape (num_items, num_features), {expected}. Received: "
                f"{features.shape}"
            )
        if not np.isfinite(features).all():
            row = int(np.argmin(np.isfinite(features).all(axis=1)))
            raise ValueError(
                f"`features` must be finite. Received for item {row + 1}: {features[row].tolist()}"
            )
        if not self.built:
            self.build()
        self.features.assign(features)

    def start_from(self, vectors):
        """Gives the table these vectors, made as short as those it would start with.

        Args:
            vectors: float array of shape `(num_items, embedding_dim)`, of a deviation of about 1;
                another shape is a ValueError.
        """
        expected = (self.num_items, self.embedding_dim)
        if np.shape(vectors) != expected:
            raise ValueError(
                f"Item vectors that are trained must have shape (num_items, embedding_dim), "
                f"{expected}. Received: {np.shape(vectors)}"
            )
        if not self.built:
            self.build()
        self.embeddings.assign(0.02 * np.asarray(vectors, "float32"))

    def adapt(self, item_counts):
        """Notes which items occur in the training data, in addition to earlier calls.

        Args:
            item_counts: array of shape `(num_items,)`.
        """
        if self.num_features is not None:
            if not self.built:
                self.build()
            occurs = np.asarray(item_counts) > 0
            self.occurs.assign(np.maximum(occurs, ops.convert_to_numpy(self.occurs)))

    def table(self, rows=None):
        """The vectors of items: float tensor of shape `(num_items, embedding_dim)`.

        Args:
            rows: optional int array of shape `(n,)`: the vectors of these alone, 0 the first,
                without a gradient; the others are then not even read.
        """

        def read(weight):
            return ops.convert_to_tensor(weight) if rows is None else read_rows(weight, rows)

        return self._with_features(read(self.embeddings), read)

    def lookup(self, rows):
        """Rows of the table: `(..., embedding_dim)` for int32 rows of any shape, 0 the first."""
        elsewhere = getattr(_local, "lookups", {}).get(id(self))
        if elsewhere is not None:
            return ops.cast(elsewhere(rows), self.compute_dtype)
        vectors = lookup_rows(self.embeddings, rows, row_gradient=self.row_gradients)
        return self._with_features(
            vectors, lambda weight: ops.take(ops.convert_to_tensor(weight), rows, axis=0)
        )

    def _with_features(self, vectors, read):
        """Whole vectors of the items whose own `vectors` are given, and weights by `read`."""
        vectors = ops.cast(vectors, self.compute_dtype)
        if self.num_features is None:
            return vectors
        vectors = vectors * ops.expand_dims(read(self._occurring()), -1)
        return vectors + ops.matmul(read(self.features), self.feature_kernel)

    def _occurring(self):
        """1 for items that occur in the training data, 0 for others; 1 for all if none does."""
        occurs = ops.convert_to_tensor(self.occurs)
        return ops.where(ops.any(occurs > 0), occurs, 1.0)

    def call(self, inputs, reverse=False, target_ids=None, training=False):
        if reverse:
            never = None
            if training and self.num_features is not None:
                # What never occurs is no target, and would only be learned to be bad.
                never = ops.equal(self._occurring(), 0)
            if target_ids is None:
                scores = ops.matmul(inputs, ops.transpose(self.table()))
                if never is None:
                    return scores
                return ops.where(never, ops.cast(MASKED_LOGIT, scores.dtype), scores)
            losses = linear_crossentropy(
                ops.reshape(inputs, (-1, self.embedding_dim)),
                self.table(),
                ops.reshape(ops.cast(target_ids, "int32"), (-1,)) - 1,
                None if never is None else ops.where(never, MASKED_LOGIT, 0.0),
            )
            return ops.reshape(losses, ops.shape(target_ids))
        is_item = ops.logical_and(inputs > 0, inputs <= self.num_items)
        rows = ops.where(is_item, inputs - 1, 0)
        # Padding looks up a row that is looked up anyway, so that it touches no other.
        vectors = self.lookup(ops.where(is_item, rows, ops.max(rows, initial=0)))
        ids = ops.expand_dims(inputs, -1)
        if self.mask_token:
            mask = ops.convert_to_tensor(self.mask_embedding)  # JAX's `where` takes no variable
            vectors = ops.where(ids == self.num_items + 1, mask, vectors)
        return ops.where(ids == 0, ops.zeros_like(vectors), vectors)

    def compute_output_spec(self, inputs, reverse=False, target_ids=None, training=False):
        if target_ids is not None:
            return keras.KerasTensor(target_ids.shape, dtype="float32")
        shape = (
            (*inputs.shape[:-1], self.num_items) if reverse else (*inputs.shape, self.embedding_dim)
        )
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        own = ("num_items", "embedding_dim", "mask_token", "num_features")
        config = {**super().get_config(), **{name: getattr(self, name) for name in own}}
        config["embeddings_initializer"] = keras.initializers.serialize(self.embeddings_initializer)
        return config


def _in_parts(initializer):
    """An initializer that draws a large table some rows at a time, each part with its own seed.

    On JAX and PyTorch, random initializers need up to ten times the memory of what they return; for
    a million rows that is more than all training. On TensorFlow nothing is changed, nor are tables
    of up to 131,072 rows.
    """
    has_seed = isinstance(getattr(initializer, "seed", None), int)
    if not has_seed or keras.config.backend() == "tensorflow":
        return initializer

    def draw(shape, dtype=None):
        if shape[0] <= _ROWS_AT_ONCE:
            return initializer(shape, dtype=dtype)
        parts = []
        for start in range(0, shape[0], _ROWS_AT_ONCE):
            config = {**initializer.get_config(), "seed": initializer.seed + start}
            rows = min(_ROWS_AT_ONCE, shape[0] - start)
            part = type(initializer).from_config(config)
            parts.append(part((rows, *shape[1:]), dtype=dtype))
        return ops.concatenate(parts, axis=0)

    return draw
