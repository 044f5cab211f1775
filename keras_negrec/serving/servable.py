"""The graph that is exported, with nothing but TensorFlow's own operations."""

from __future__ import annotations

import inspect
from functools import partial

import numpy as np
import tensorflow as tf

from keras_negrec.data import Vocabulary
from keras_negrec.layers.item_embedding import look_up_elsewhere
from keras_negrec.models.weighted_hybrid import WeightedHybrid
from keras_negrec.serving.hybrid_graph import HybridGraph
from keras_negrec.serving.recommend import further_inputs

REQUIRED = ("item_ids", "candidate_ids")  # inputs without a default
CHUNK_ROWS = 2**17
CHUNK_SCORES = 2**23  # 32 MiB of float32


class ItemTable(tf.Module):
    """Item vectors (num_items, dim), stored as float32, float16, or int8.

    An int8 value is the float32 one over a 127th of the largest one of its row, rounded.
    """

    def __init__(self, table, dtype: str = "float32"):
        super().__init__(name="item_table")
        self.scales = None
        if dtype == "float32" and isinstance(table, tf.Variable):
            self.stored = table
            return
        values = np.asarray(table, "float32")
        if dtype == "int8":
            scales = np.maximum(np.abs(values).max(axis=1), np.finfo("float32").tiny) / 127
            self.scales = tf.Variable(scales.astype("float32"), trainable=False)
            values = np.rint(values / scales[:, np.newaxis])
        self.stored = tf.Variable(values.astype(dtype), trainable=False)

    def rows(self, rows: tf.Tensor) -> tf.Tensor:
        """Vectors of the given rows, float32."""
        # A gather from a variable itself would make each later read of it a copy of the table.
        vectors = tf.cast(tf.gather(tf.convert_to_tensor(self.stored), rows), tf.float32)
        if self.scales is not None:
            vectors *= tf.gather(tf.convert_to_tensor(self.scales), rows)[..., tf.newaxis]
        return vectors

    def scores(self, vectors: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        """Products of `vectors` (batch, dim) with the rows from `start` up to `stop`."""
        table = tf.cast(self.stored[start:stop], tf.float32)
        scores = tf.matmul(vectors, table, transpose_b=True)
        return scores if self.scales is None else scores * self.scales[start:stop]


class Servable(tf.Module):
    """From external ids to recommendations, by a model on Keras's TensorFlow backend."""

    def __init__(self, model, vocabulary: Vocabulary, k: int, item_dtype: str = "float32"):
        super().__init__(name="servable")
        self.hybrid = None
        if isinstance(model, WeightedHybrid):
            self.hybrid = HybridGraph(model)
            model = model.exported_parts()[0]
        embeddings = [embedding for embedding, _ in model.item_columns]
        vectors = model.item_vectors()
        first = embeddings[0]
        is_table = first.num_features is None and vectors.shape[1] == first.embedding_dim
        self.table = ItemTable(first.embeddings.value if is_table else vectors.numpy(), item_dtype)
        self.k, self.item_dtype = k, item_dtype
        self._exclude_seen = model.exclude_seen
        self.num_items, self.max_length = len(vocabulary), model.max_length
        id_dtype = tf.string if vocabulary.is_string else tf.int64
        self.padding = tf.constant("" if vocabulary.is_string else -1, id_dtype)
        self.items = tf.constant(vocabulary.items.tolist(), id_dtype)
        self._retired = None  # whether each item is
        if len(vocabulary.retired_ids):
            self._retired = tf.constant(
                np.isin(np.arange(self.num_items), vocabulary.retired_ids - 1)
            )
        ids = tf.range(1, self.num_items + 1, dtype=tf.int64)
        self.ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(self.items, ids), default_value=0
        )
        serving_model, table = model.serving_model, self.table

        def look_up(start, stop, rows):
            return table.rows(rows)[..., start:stop]

        lookups = [
            (each, partial(look_up, start, start + each.embedding_dim))
            for each, start in model.item_columns
        ]

        def encode(events):
            inputs = {name: events[name] for name in serving_model.input}
            with look_up_elsewhere(lookups):
                return tf.cast(serving_model(inputs), tf.float32)

        self._column_weights = tf.constant(model.column_weights())
        self._ranking = {  # which columns each request's weight is for
            f"{name}_weight": np.isin(np.arange(vectors.shape[1]), np.r_[tuple(columns)])
            for name, columns in model.ranking_columns.items()
            if name in model.ranking_weights
        }
        self._encode = encode  # a function, so that no layer is saved
        # What the graph reads must hang on the module to be saved with it. The item table is
        # there once, however it is stored.
        replaced = {id(variable) for embedding in embeddings for variable in embedding.variables}
        replaced -= {id(each.mask_embedding) for each in embeddings if each.mask_token}
        self.weights = [each.value for each in serving_model.variables if id(each) not in replaced]
        no_ids = tf.reshape(self.padding, [1, 1])
        history = {"item_ids": no_ids}
        columns = {"feedback": tf.constant([[1]])}  # kept
        columns |= {c.name: tf.zeros([1, 1], c.input_dtype) for c in further_inputs(model)}
        own = model.ranking_weights.items()
        weights = {f"{name}_weight": tf.constant([weight], tf.float32) for name, weight in own}
        options = {"k": tf.constant(k), "allowed_item_ids": no_ids, "blocked_item_ids": no_ids}
        self.functions = {
            "serving_default": _function(partial(self.recommend, **options), history | columns),
            "recommend": _function(self.recommend, history | columns | options | weights),
            "score": _function(self.score, history | {"candidate_ids": no_ids} | columns | weights),
            "embed": _function(self.embed, history | columns | weights),
        }

    def score(self, item_ids, candidate_ids, **columns):
        vectors, history, feedback = self._vectors(item_ids, columns)
        known = self._known(candidate_ids)
        items = tf.maximum(known - 1, 0)
        if self.hybrid is not None:
            vectors, counted = self.hybrid(vectors, history, feedback)
        scores = tf.linalg.matvec(self.table.rows(items), vectors)
        if self.hybrid is not None:
            scores += counted.of(items)
        return {"scores": tf.where(known > 0, scores, -float("inf"))}

    def embed(self, item_ids, **columns):
        return {"vectors": self._vectors(item_ids, columns)[0]}

    def recommend(self, item_ids, k, allowed_item_ids, blocked_item_ids, **columns):
        """The k best items of each row that are not blocked, nor seen if the model says so."""
        k = _checked(k, tf.debugging.assert_positive(k, "`k` must be positive."))
        k = tf.minimum(k, self.num_items)
        vectors, history, feedback = self._vectors(item_ids, columns)
        counted = None
        if self.hybrid is not None:
            vectors, counted = self.hybrid(vectors, history, feedback)

        def one_row_each(ids, name):
            rows, columns = tf.unstack(tf.shape(ids))
            shape = tf.stack([tf.shape(item_ids)[0], columns])
            message = f"`{name}` must have one row, or one a history."
            return _broadcast(ids, shape, rows == 1, message)

        allowed = one_row_each(allowed_item_ids, "allowed_item_ids")
        blocked = self._known(one_row_each(blocked_item_ids, "blocked_item_ids"))
        restricted = tf.reduce_any(allowed != self.padding, axis=1)
        excluded = tf.concat([history, blocked], axis=1) if self._exclude_seen else blocked
        allowed = self._known(allowed)
        best, places = self._best(vectors, counted, excluded, allowed, restricted, k)
        left = tf.reduce_sum(tf.cast(best > -float("inf"), tf.int32), axis=1)
        message = "No item is left to recommend for a row of the request."
        left = _checked(left, tf.debugging.assert_positive(left, message))
        width = tf.reduce_min(tf.concat([left, [k]], axis=0))
        items = tf.gather(self.items, places[:, :width])
        return {"item_ids": items, "scores": best[:, :width]}

    def _known(self, item_ids):
        """Internal ids, 0 for padding and for what the vocabulary does not know."""
        return tf.cast(self.ids.lookup(item_ids), tf.int32)

    def _vectors(self, item_ids, columns: dict):
        """Prediction vectors (batch, dim), and the histories' ids and feedback (batch, n)."""
        known, events = self._known(item_ids), {}
        weights = self._weights(tf.shape(item_ids)[:1], columns)
        for name, values in columns.items():
            message = f"`{name}` must have the shape of `item_ids`, or one value a history."
            is_single = tf.shape(values)[1] == 1
            is_single &= tf.reduce_any(tf.shape(values)[0] == [1, tf.shape(item_ids)[0]])
            events[name] = _broadcast(values, tf.shape(item_ids), is_single, message)
        feedback = events["feedback"]
        valid = tf.debugging.assert_equal(
            tf.clip_by_value(feedback, -2, 2), feedback, "`feedback` must hold values from -2 to 2."
        )
        events["item_ids"] = _checked(known, valid)
        events = _newest(events, known > 0, self.max_length)
        if "session_ids" in events:
            steps = events["session_ids"][:, 1:] - events["session_ids"][:, :-1]
            message = "`session_ids` must start at 0 or above and never fall along a history."
            valid = tf.debugging.assert_non_negative(steps, message)
            events["item_ids"] = _checked(events["item_ids"], valid)
        return self._encode(events) * weights, known, feedback

    def _weights(self, batch, columns: dict):
        """What each column counts, for all rows or `(batch, dim)`; takes those of the request."""
        found = self._column_weights
        for name, is_its in self._ranking.items():
            if name in columns:
                given = columns.pop(name)
                valid = tf.math.is_finite(given) & (given >= 0)
                message = f"`{name}` must hold numbers of at least 0."
                given = _checked(given, tf.debugging.assert_equal(valid, True, message))
                message = f"`{name}` must have one value, or one a history."
                given = _broadcast(given, batch, tf.size(given) == 1, message)[:, tf.newaxis]
                found = tf.where(is_its, given, found)
        return found

    def _best(self, vectors, counted, excluded, allowed, restricted, k):
        """Scores and 0-based items of the best k of each row, best first, earlier items first.

        `counted` is None, or what a hybrid adds to the scores.
        `excluded` and `allowed` hold internal ids, 0 for none; `allowed` counts in rows that are
        `restricted`. The catalogue is gone through in chunks, so that memory stays bounded.
        """
        batch = tf.shape(vectors)[0]
        size = tf.clip_by_value(CHUNK_SCORES // tf.maximum(batch, 1), k, CHUNK_ROWS)

        def add_chunk(start, best, places):
            stop = tf.minimum(start + size, self.num_items)
            is_out = _is_among(excluded, start, stop)
            is_out = tf.cond(
                tf.reduce_any(restricted),
                lambda: is_out | (restricted[:, tf.newaxis] & ~_is_among(allowed, start, stop)),
                lambda: is_out,
            )
            if self._retired is not None:
                is_out |= self._retired[start:stop]
            scores = self.table.scores(vectors, start, stop)
            if counted is not None:
                scores += counted.between(start, stop)
            scores = tf.where(is_out, -float("inf"), scores)
            chunk_best, chunk_places = tf.math.top_k(scores, tf.minimum(k, stop - start))
            best = tf.concat([best, chunk_best], axis=1)
            places = tf.concat([places, chunk_places + start], axis=1)
            best, kept = tf.math.top_k(best, tf.minimum(k, tf.shape(best)[1]))
            return stop, best, tf.gather(places, kept, batch_dims=1)

        _, best, places = tf.while_loop(
            lambda start, best, places: start < self.num_items,
            add_chunk,
            [tf.constant(0), tf.zeros([batch, 0]), tf.zeros([batch, 0], tf.int32)],
            shape_invariants=list(map(tf.TensorShape, ([], [None, None], [None, None]))),
        )
        return best, places


def _function(function, inputs: dict):
    """A `tf.function` of the inputs; their defaults become those of the SavedModel's signature."""

    def call(*args, **kwargs):
        return function(**signature.bind(*args, **kwargs).arguments)

    empty, kind = inspect.Parameter.empty, inspect.Parameter.POSITIONAL_OR_KEYWORD
    defaults = {name: empty if name in REQUIRED else value for name, value in inputs.items()}
    signature = inspect.Signature(
        [inspect.Parameter(name, kind, default=default) for name, default in defaults.items()]
    )
    call.__signature__ = signature  # type: ignore[attr-defined]
    specs = [tf.TensorSpec([None] * each.shape.rank, each.dtype) for each in inputs.values()]
    return tf.function(call, input_signature=specs)


def _checked(values, check):
    """The same values, which are there only when the check has passed."""
    with tf.control_dependencies([check]):
        return tf.identity(values)


def _broadcast(values, shape, stands_for_all, message: str):
    """Values of the shape, which they must have unless those given stand for all."""
    given = tf.where(stands_for_all, shape, tf.shape(values))
    values = _checked(values, tf.debugging.assert_equal(given, shape, message))
    return tf.broadcast_to(values, shape)


def _is_among(ids, start, stop):
    """For each row, which of the items from `start` up to `stop` are among its `ids`."""
    column = ids - 1 - start
    inside = (column >= 0) & (column < stop - start)
    row = tf.cast(tf.where(inside)[:, 0], tf.int32)
    indices = tf.stack([row, tf.boolean_mask(column, inside)], axis=1)
    none = tf.zeros([tf.shape(ids)[0], stop - start], tf.bool)
    return tf.tensor_scatter_nd_update(none, indices, tf.ones_like(row, tf.bool))


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
