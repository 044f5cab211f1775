"""The graph that is exported. The package's TensorFlow-only code is here and in `ItemTable`."""

from __future__ import annotations

import inspect

import tensorflow as tf

from keras_negrec.data import Vocabulary
from keras_negrec.layers.item_embedding import look_up_elsewhere
from keras_negrec.serving.further_inputs import further_inputs
from keras_negrec.serving.item_table import ItemTable

CHUNK_ROWS = 2**17
CHUNK_SCORES = 2**23  # 32 MiB of float32


class Servable(tf.Module):
    """From external ids to recommendations, with nothing but TensorFlow's own operations.

    The model is on Keras's TensorFlow backend. `item_dtype` is how `ItemTable` stores the vectors.
    """

    def __init__(self, model, vocabulary: Vocabulary, k: int, item_dtype: str = "float32"):
        super().__init__(name="servable")
        embeddings = [embedding for embedding, _ in model.item_columns]
        vectors = model.item_vectors()
        is_table = (
            embeddings[0].num_features is None and vectors.shape[1] == embeddings[0].embedding_dim
        )
        table = embeddings[0].embeddings.value if is_table else vectors.numpy()
        self.table = ItemTable(table, item_dtype)
        self.k, self.item_dtype = k, item_dtype
        self.num_items = len(vocabulary)
        self.example = repr(vocabulary.items[:1].tolist())
        self.max_length = model.max_length
        self.id_dtype = tf.string if vocabulary.is_string else tf.int64
        self.padding = tf.constant("" if vocabulary.is_string else -1, self.id_dtype)
        self.items = tf.constant(vocabulary.items.tolist(), self.id_dtype)
        self.ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                self.items, tf.range(1, self.num_items + 1, dtype=tf.int64)
            ),
            default_value=0,
        )
        self._input_names = list(model.serving_model.input)
        self._further_inputs = {
            column.name: tf.as_dtype(column.input_dtype) for column in further_inputs(model)
        }
        self._encode = _encoder(model, self.table)  # a function, so that no layer is saved
        # What the graph reads must hang on the module to be saved with it. The item table is
        # there once, however it is stored.
        replaced = set()
        for embedding in embeddings:
            replaced |= {id(variable) for variable in embedding.variables}
            if embedding.mask_token:
                replaced.remove(id(embedding.mask_embedding))
        self.weights = [
            variable.value
            for variable in model.serving_model.variables
            if id(variable) not in replaced
        ]
        self.functions = self._functions()

    def _functions(self) -> dict:
        """The signatures by name."""
        ids, integers = (tf.TensorSpec([None, None], dtype) for dtype in (self.id_dtype, tf.int32))
        no_ids = tf.reshape(self.padding, [1, 1])
        # Not constants of the module: TensorFlow would take hold of the devices at import.
        history = {"item_ids": (ids, None)}
        columns = {"feedback": (integers, tf.constant([[1]]))}  # kept
        for name, dtype in self._further_inputs.items():
            columns[name] = tf.TensorSpec([None, None], dtype), tf.zeros([1, 1], dtype)
        default_k = tf.constant(self.k, tf.int32)
        options = {
            "k": (tf.TensorSpec([], tf.int32), default_k),
            "allowed_item_ids": (ids, no_ids),
            "blocked_item_ids": (ids, no_ids),
        }

        def recommend(
            item_ids, k=default_k, allowed_item_ids=no_ids, blocked_item_ids=no_ids, **columns
        ):
            return self.recommend(item_ids, columns, k, allowed_item_ids, blocked_item_ids)

        def score(item_ids, candidate_ids, **columns):
            vectors, _ = self._vectors(item_ids, columns)
            known = self._known(candidate_ids)
            scores = tf.linalg.matvec(self.table.rows(tf.maximum(known - 1, 0)), vectors)
            return {"scores": tf.where(known > 0, scores, -float("inf"))}

        def embed(item_ids, **columns):
            return {"vectors": self._vectors(item_ids, columns)[0]}

        return {
            "serving_default": _function(recommend, history | columns),
            "recommend": _function(recommend, history | columns | options),
            "score": _function(score, history | {"candidate_ids": (ids, None)} | columns),
            "embed": _function(embed, history | columns),
        }

    def recommend(self, item_ids, columns, k, allowed_item_ids, blocked_item_ids):
        """The k best items of each row that are neither in its history nor blocked."""
        with tf.control_dependencies([tf.debugging.assert_positive(k, "`k` must be positive.")]):
            k = tf.minimum(k, self.num_items)
        vectors, history = self._vectors(item_ids, columns)
        batch = tf.shape(item_ids)[0]
        blocked = self._known(_one_row_each(blocked_item_ids, batch, "blocked_item_ids"))
        allowed_item_ids = _one_row_each(allowed_item_ids, batch, "allowed_item_ids")
        best, columns = self._best(
            vectors,
            tf.concat([history, blocked], axis=1),
            self._known(allowed_item_ids),
            tf.reduce_any(allowed_item_ids != self.padding, axis=1),
            k,
        )
        left = tf.reduce_sum(tf.cast(best > -float("inf"), tf.int32), axis=1)
        nothing_left = tf.debugging.assert_positive(
            left, "No item is left to recommend for a row of the request."
        )
        with tf.control_dependencies([nothing_left]):
            width = tf.reduce_min(tf.concat([left, [k]], axis=0))
        return {
            "item_ids": tf.gather(self.items, columns[:, :width]),
            "scores": best[:, :width],
        }

    def _known(self, item_ids):
        """Internal ids, 0 for padding and for what the vocabulary does not know."""
        return tf.cast(self.ids.lookup(item_ids), tf.int32)

    def _vectors(self, item_ids, columns: dict):
        """Prediction vectors (batch, dim), and the histories' internal ids (batch, n)."""
        known = self._known(item_ids)
        shape = tf.shape(item_ids)
        columns = {name: _like_items(values, shape, name) for name, values in columns.items()}
        feedback = columns["feedback"]
        valid = tf.debugging.assert_equal(
            tf.clip_by_value(feedback, -2, 2), feedback, "`feedback` must hold values from -2 to 2."
        )
        with tf.control_dependencies([valid]):
            events = _newest({"item_ids": known, **columns}, known > 0, self.max_length)
        checks = []
        if "session_ids" in events:
            steps = events["session_ids"][:, 1:] - events["session_ids"][:, :-1]
            message = "`session_ids` must start at 0 or above and never fall along a history."
            checks.append(tf.debugging.assert_non_negative(steps, message))
        with tf.control_dependencies(checks):
            inputs = {name: tf.identity(events[name]) for name in self._input_names}
        return self._encode(inputs), known

    def _best(self, vectors, excluded, allowed, restricted, k):
        """Scores and 0-based items of the best k of each row, best first, earlier items first.

        `excluded` and `allowed` hold internal ids, 0 for none; `allowed` counts in rows that are
        `restricted`. The catalogue is gone through in chunks, so that memory stays bounded.
        """
        batch = tf.shape(vectors)[0]
        size = tf.clip_by_value(CHUNK_SCORES // tf.maximum(batch, 1), k, CHUNK_ROWS)
        any_restricted = tf.reduce_any(restricted)

        def only_allowed(scores, start, stop):
            is_allowed = tf.tensor_scatter_nd_update(
                tf.zeros(tf.shape(scores), tf.bool), *_updates(allowed, start, stop, True)
            )
            return tf.where(restricted[:, tf.newaxis] & ~is_allowed, -float("inf"), scores)

        def add_chunk(start, best, columns):
            stop = tf.minimum(start + size, self.num_items)
            scores = self.table.scores(vectors, start, stop)
            scores = tf.tensor_scatter_nd_update(
                scores, *_updates(excluded, start, stop, -float("inf"))
            )
            scores = tf.cond(
                any_restricted, lambda: only_allowed(scores, start, stop), lambda: scores
            )
            chunk_best, chunk_columns = tf.math.top_k(scores, tf.minimum(k, stop - start))
            best = tf.concat([best, chunk_best], axis=1)
            columns = tf.concat([columns, chunk_columns + start], axis=1)
            best, kept = tf.math.top_k(best, tf.minimum(k, tf.shape(best)[1]))
            return stop, best, tf.gather(columns, kept, batch_dims=1)

        _, best, columns = tf.while_loop(
            lambda start, best, columns: start < self.num_items,
            add_chunk,
            [tf.constant(0), tf.zeros([batch, 0]), tf.zeros([batch, 0], tf.int32)],
            shape_invariants=[
                tf.TensorShape([]),
                tf.TensorShape([None, None]),
                tf.TensorShape([None, None]),
            ],
        )
        return best, columns


def _encoder(model, table: ItemTable):
    """The model's encoder as a function, float32, whose item vectors come from `table`."""
    serving_model = model.serving_model

    def columns_of_table(start, stop):
        return lambda rows: table.rows(rows)[..., start:stop]

    lookups = [
        (embedding, columns_of_table(start, start + embedding.embedding_dim))
        for embedding, start in model.item_columns
    ]

    def encode(inputs):
        with look_up_elsewhere(lookups):
            return tf.cast(serving_model(inputs), tf.float32)

    return encode


def _function(function, inputs: dict):
    """A `tf.function` of the inputs, each a spec with a default or None, in this order.

    The defaults become those of the SavedModel's signature, which reads them off Python's.
    """
    signature = inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if default is None else default,
            )
            for name, (_, default) in inputs.items()
        ]
    )

    def call(*args, **kwargs):
        return function(**signature.bind(*args, **kwargs).arguments)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return tf.function(call, input_signature=[spec for spec, _ in inputs.values()])


def _updates(ids, start, stop, value):
    """Where the ids of each row lie between `start` and `stop`, for a scatter of `value`."""
    column = ids - 1
    inside = (column >= start) & (column < stop)
    where = tf.where(inside)  # (row, column of `ids`)
    indices = tf.stack([tf.cast(where[:, 0], tf.int32), tf.boolean_mask(column, inside) - start], 1)
    return indices, tf.fill([tf.shape(indices)[0]], value)


def _like_items(values, shape, name):
    """Values of the shape of the item ids; one single value stands for all."""
    single = tf.reduce_all(tf.shape(values) == 1)
    fits = tf.debugging.assert_equal(
        tf.where(single, shape, tf.shape(values)),
        shape,
        f"`{name}` must have the shape of `item_ids`.",
    )
    with tf.control_dependencies([fits]):
        return tf.broadcast_to(values, shape)


def _one_row_each(ids, batch, name):
    """One row of ids for each of the batch; a single row stands for all."""
    rows = tf.shape(ids)[0]
    fits = tf.debugging.assert_equal(
        tf.where(rows == 1, batch, rows), batch, f"`{name}` must have one row, or one a history."
    )
    with tf.control_dependencies([fits]):
        return tf.broadcast_to(ids, [batch, tf.shape(ids)[1]])


def _newest(events: dict, known: tf.Tensor, length: int) -> dict:
    """The newest `length` known events of each row, moved to the right, padded with 0."""
    later = tf.cumsum(tf.cast(known, tf.int32), axis=1, reverse=True, exclusive=True)
    kept = tf.where(known & (later < length))  # (row, column)
    column = tf.cast(length - 1 - tf.gather_nd(later, kept), tf.int64)
    target = tf.stack([kept[:, 0], column], axis=1)
    shape = tf.stack([tf.cast(tf.shape(known)[0], tf.int64), length])
    return {
        name: tf.scatter_nd(target, tf.gather_nd(values, kept), shape)
        for name, values in events.items()
    }
