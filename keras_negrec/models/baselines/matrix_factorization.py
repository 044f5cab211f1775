"""The matrix factorization baseline."""

from __future__ import annotations

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_negrec import layers
from keras_negrec.argument_checks import (
    check_fraction,
    check_num_items,
    check_positive_float,
    check_positive_int,
)
from keras_negrec.data import Sessions
from keras_negrec.layers.in_fewer_passes import Dropout
from keras_negrec.layers.item_embedding import MASKED_LOGIT
from keras_negrec.losses import BayesianPersonalizedRanking
from keras_negrec.models.recommender import Recommender
from keras_negrec.optimizers import LazyAdam, LossScaleOptimizer


@keras.saving.register_keras_serializable(package="keras_negrec")
class MatrixFactorization(Recommender):
    """Matrix factorization of sessions as bags of kept items, trained with the BPR loss.

    A session has no vector of its own, which a new one could not have been trained: it is made
    of the vectors of the distinct items it kept. With input vectors `p`, output vectors `q` and
    a bias for each item, and `B` the bag of a session, the score of item `j` is

        y(j) = bias(j) + q(j) . sum over i in B of p(i) / |B| ** normalization

    Order and skipped events play no part. In training each item of a bag is a target, which is
    left out of the bag that predicts it; negatives are drawn uniformly for the whole batch, and
    those that are in the session do not count for it. Bags of more than `max_length` items become
    several; sessions that kept fewer than two items are left out. The model comes compiled, with
    `keras_negrec.losses.BayesianPersonalizedRanking` and `keras_negrec.optimizers.LazyAdam`, whose
    steps cost the same whatever the catalogue.

    Input vectors start at 0, so that items that training never kept add nothing to a session.
    A history that kept nothing is answered with the biases.

    Args:
        num_items, vocabulary, dtype, name: as for `SessionRecommender`.
        embedding_dim: int. Width of `p` and `q`.
        max_length: int. The most items in a bag of training, and the newest events of a history
            that count.
        normalization: float from 0 to 1. 1 takes the mean of the bag, 0 its sum.
        dropout: float from 0 up to but not including 1. Of the bag's vector.
        num_sampled_negatives: int. How many items a batch draws.
        learning_rate: float above 0, of the optimizer.
        weight_decay: float of at least 0. What Adam takes off the weights at each step, times
            the learning rate. Above 0 it is Adam, and a step is of all items.

    Raises:
        ValueError: an argument outside of its range, or `num_items` against `vocabulary`.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3], [1, 3], [2, 3]])
    >>> model = keras_negrec.models.MatrixFactorization(num_items=3, embedding_dim=4)
    >>> history = model.fit(model.training_dataset(sessions), epochs=2, verbose=0)
    >>> model.score(keras_negrec.data.Sessions.from_lists([[1, 2]])).shape
    (1, 3)

    Reference:
        [Rendle et al., 2009](https://arxiv.org/abs/1205.2618) for the loss;
        [Paterek, 2007](https://www.cs.uic.edu/~liub/KDD-cup-2007/proceedings/Regular-Paterek.pdf)
        and [Kabbur et al., 2013](https://doi.org/10.1145/2487575.2487589) for users as bags.
    """

    _trains_by_rows = True

    def __init__(
        self,
        num_items=None,
        *,
        embedding_dim=64,
        max_length=50,
        normalization=0.5,
        dropout=0.2,
        num_sampled_negatives=500,
        learning_rate=5e-3,
        weight_decay=0.0,
        vocabulary=None,
        dtype=None,
        name=None,
        **kwargs,
    ):
        num_items = check_num_items(num_items, vocabulary)
        check_positive_int("max_length", max_length)
        check_fraction("dropout", dropout)
        check_positive_int("num_sampled_negatives", num_sampled_negatives)
        check_positive_float("learning_rate", learning_rate)
        for argument, value, is_right, rule in (
            ("normalization", normalization, 0 <= normalization <= 1, "from 0 to 1"),
            ("weight_decay", weight_decay, weight_decay >= 0, "at least 0"),
        ):
            if not is_right:
                raise ValueError(f"`{argument}` must be {rule}. Received: {argument}={value!r}")
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())

        bag_embedding = layers.ItemEmbedding(
            num_items,
            embedding_dim,
            embeddings_initializer="zeros",
            dtype=policy,
            name="bag_embedding",
        )
        # The last column is the item's bias: it meets the 1 at the end of a bag's vector.
        item_embedding = layers.ItemEmbedding(
            num_items, embedding_dim + 1, dtype=policy, name="item_embedding"
        )
        bag_dropout = Dropout(dropout, dtype=policy, name="bag_dropout")

        def bag_vectors(total, count):
            count = ops.cast(ops.maximum(count, 1), total.dtype)
            vectors = bag_dropout(total / ops.power(count, normalization))
            return ops.concatenate([vectors, ops.ones_like(vectors[..., :1])], axis=-1)

        item_ids = keras.Input((None,), dtype="int32", name="item_ids")
        vectors = bag_embedding(item_ids)  # (batch, length, embedding_dim)
        count = ops.sum(ops.cast(ops.not_equal(item_ids, 0), "int32"), axis=1)[:, None, None]
        others = bag_vectors(ops.sum(vectors, axis=1, keepdims=True) - vectors, count - 1)
        negative_ids, _, _ = layers.NegativeSampler(
            num_items, num_sampled_negatives, dtype=policy, name="negative_sampler"
        )(item_ids)
        target = ops.sum(others * item_embedding(item_ids), axis=-1, keepdims=True)
        negative = ops.matmul(others, ops.transpose(item_embedding(negative_ids)))
        in_session = ops.any(ops.equal(item_ids[:, :, None], negative_ids), axis=1, keepdims=True)
        negative = ops.where(in_session, ops.cast(MASKED_LOGIT, negative.dtype), negative)
        logits = ops.concatenate([target, negative], axis=-1)  # (batch, length, 1 + negatives)
        super().__init__(inputs={"item_ids": item_ids}, outputs=logits, name=name, **kwargs)
        self.dtype_policy = policy

        self.num_items = num_items
        self.max_length = max_length
        self.item_embedding = item_embedding
        self.vocabulary = vocabulary
        self._bag_embedding = bag_embedding
        self._bag_vectors = bag_vectors
        self._config = {
            "num_items": num_items,
            "embedding_dim": embedding_dim,
            "max_length": max_length,
            "normalization": normalization,
            "dropout": dropout,
            "num_sampled_negatives": num_sampled_negatives,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "dtype": keras.dtype_policies.serialize(policy),
        }
        loss = BayesianPersonalizedRanking()
        if weight_decay:
            adam = keras.optimizers.Adam(learning_rate, weight_decay=weight_decay)
            self.compile(adam, loss)
            return
        optimizer = LazyAdam(learning_rate)
        if policy.name == "mixed_float16":
            optimizer = LossScaleOptimizer(optimizer)
        # XLA on TensorFlow copies a table to change rows of it.
        jit_compile = False if keras.config.backend() == "tensorflow" else "auto"
        self.compile(optimizer, loss, jit_compile=jit_compile)

    def _training_batches(self, sessions, options):
        def with_targets(batch):
            item_ids = batch["item_ids"]
            weights = tf.cast(item_ids != 0, "float32")
            return {"item_ids": item_ids}, tf.zeros_like(item_ids), weights  # the target is class 0

        batches = sessions.batches(
            transform=bags_of_two_kept_items, max_length=self.max_length, **options
        )
        return batches.map(with_targets)

    @functools.cached_property
    def serving_model(self) -> keras.Model:
        """A functional model from `item_ids` and `feedback` to vectors like `item_vectors`."""
        names = ("item_ids", "feedback")
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
        ids = ops.where(ops.greater(inputs["feedback"], 0), inputs["item_ids"], 0)
        same = ops.equal(ids[:, :, None], ids[:, None, :])  # (batch, length, length)
        times = ops.sum(ops.cast(same, "int32"), axis=-1)
        kept = ops.not_equal(ids, 0)
        # An item that was kept several times is in the bag once: each time by its share.
        shares = ops.where(kept, 1.0 / ops.cast(times, "float32"), 0.0)
        vectors = self._bag_embedding(ids)
        total = ops.sum(vectors * ops.cast(shares, vectors.dtype)[:, :, None], axis=1)
        vectors = self._bag_vectors(total, ops.sum(shares, axis=1, keepdims=True))
        return keras.Model(inputs, vectors, name=f"{self.name}_serving")


def bags_of_two_kept_items(sessions: Sessions) -> Sessions:
    """The distinct kept items of each row, where they first came; no rows with fewer than two."""
    kept = np.flatnonzero(sessions.feedback > 0)
    ids = sessions.item_ids[kept].astype("int64")
    _, first = np.unique(sessions.rows()[kept] * (ids.max(initial=0) + 1) + ids, return_index=True)
    events = kept[np.sort(first)]
    lengths = np.bincount(sessions.rows()[events], minlength=len(sessions))
    columns = {name: sessions.columns[name][events] for name in ("item_ids", "feedback")}
    bags = Sessions(columns, np.append(0, np.cumsum(lengths)), sessions.keys)
    return bags.take(np.flatnonzero(lengths > 1))
