"""New items for a model that is trained already."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_negrec.backend.keras_private import (
    flatten_layers,
    moving_averages,
    trainable_variables_of,
)
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.layers import ItemEmbedding
from keras_negrec.models.ensemble import Ensemble
from keras_negrec.models.item_description import described
from keras_negrec.models.part import set_rows
from keras_negrec.models.recommender import Recommender
from keras_negrec.models.session_recommender import SessionRecommender


def grow_vocabulary(
    model: Recommender,
    new_items: Iterable,
    *,
    item_features=None,
    item_vectors=None,
    sessions: Sessions | None = None,
) -> Recommender:
    """A new model that also knows the new items, and is the old one in all else.

    The new items come last in the vocabulary, as the rarest, which is what log-uniform sampling of
    negatives takes them for. All ids, weights and scores of old items stay as they are, so that
    what is new costs nothing until `fit` goes on with data in which it occurs. `model` itself is
    not changed.

    With item features a new item starts from these alone: its own vector is 0 until it occurs in
    the training data and learns. With `sessions` it starts with the mean vector of the old items
    that were kept next to it there. Otherwise it starts with the mean vector (and bias) of all old
    items, and so with the mean of their scores. In no context does the softmax then give it more
    than the average item's share, since the exponential of a mean is at most the mean of the
    exponentials: it takes nothing from what the model is sure of, ranks near the middle, and rises
    or falls from there. New items have equal scores until they are trained.

    The model is compiled as the old one is: optimizer, losses, loss weights, metrics. The
    optimizer goes on where it was, with its step and that of a learning rate schedule, and with the
    moments of all old weights; those of the new rows are as at the start. With `objective="gbce"`
    the loss has the sampling rate of the larger catalogue. In-batch and mixed sampling take new
    items for as frequent as the rarest old one until the next `training_dataset`. Random numbers
    (dropout, sampling) start anew.

    Args:
        model: a model of this package that is trained with Keras, with a vocabulary.
        new_items: external ids, of the vocabulary's type and none of them in it.
        item_features: float array of shape `(len(new_items), num_features)`, scaled like those of
            the old items. For models with item features, which need it, alone.
        item_vectors: float array of shape `(len(new_items), n)`, in the same way.
        sessions: `Sessions` or None, by ids of the grown vocabulary, in which new items occur: up
            to two kept old items before and after each of its events are its neighbors. For models
            without item features.

    Returns:
        A model of the class of `model`.

    Raises:
        TypeError: an `Ensemble` or another model that is not trained with Keras; items of another
            type than the vocabulary's.
        ValueError: a model without a vocabulary; no items; an item that is known already or comes
            twice; features that are missing, of another shape or not finite, or that the model
            has no place for.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> model = keras_negrec.build_model("gru4rec", vocabulary=vocabulary)
    >>> grown = keras_negrec.grow_vocabulary(model, ["bridge"])
    >>> grown.vocabulary.items.tolist(), grown.num_items
    (['intro', 'verse', 'outro', 'bridge'], 4)

    Reference:
        [Hewitt, 2021](https://nlp.stanford.edu/~johnhew/vocab-expansion.html) on the mean vector.
    """
    if isinstance(model, Ensemble) or not isinstance(model, Recommender):
        raise TypeError(
            "`grow_vocabulary` takes a model that is trained with Keras; of an `Ensemble`, grow "
            f"each of its `models`. Received one of type {type(model).__name__}"
        )
    if model.vocabulary is None:
        raise ValueError("`grow_vocabulary` needs a model with a vocabulary. Received: None")
    features = described(item_features, item_vectors)
    return grow_to(model, _with_new_items(model.vocabulary, new_items), features, sessions)


def grow_to(model: Recommender, vocabulary: Vocabulary, item_features, sessions) -> Recommender:
    """See `grow_vocabulary`. The vocabulary is the model's, and maybe further items after it."""
    num_features = model.item_embedding.num_features
    received = None if item_features is None else np.shape(item_features)
    if num_features is None and received is not None:
        raise ValueError(
            "`item_features` is for models that were built with item features. Received: "
            f"shape {received}"
        )
    expected = (len(vocabulary) - model.num_items, num_features)
    if num_features is not None and expected[0] and received != expected:
        raise ValueError(
            f"`item_features` must have shape (len(new_items), num_features), {expected}. "
            f"Received: {received}"
        )
    if num_features is not None and sessions is not None:
        raise ValueError("A model with item features takes these alone. Received: `sessions`")
    grown = type(model).from_config({**model.get_config(), "num_items": len(vocabulary)})
    grown.vocabulary, grown.preparation = vocabulary, model.preparation
    grown.feature_encoder = model.feature_encoder
    for old, new in zip(model.weights, grown.weights, strict=True):
        _carry_over(old, new)
    _start_new_items(grown, model.num_items, item_features)
    if sessions is not None:
        _start_beside_neighbors(grown, model.num_items, sessions)
    if model.compiled:
        _compile_alike(model, grown)
    for old, new in zip(flatten_layers(model), flatten_layers(grown), strict=True):
        new.trainable = old.trainable
    return grown


def _with_new_items(vocabulary: Vocabulary, new_items: Iterable) -> Vocabulary:
    if not isinstance(new_items, (str, bytes)):  # these are refused by `encode`
        new_items = list(new_items)
    ids = vocabulary.encode(new_items, unknown="zero")
    if len(ids) == 0:
        raise ValueError("`new_items` must hold at least one item. Received: none.")
    if ids.any():
        known = vocabulary.decode(ids[ids > 0]).tolist()[:5]
        raise ValueError(f"`new_items` must not be in the vocabulary already. Received: {known!r}")
    return vocabulary.grow(new_items)


def _carry_over(old: keras.Variable, new: keras.Variable) -> None:
    """Gives `new` the values of `old`; rows that only `new` has stay as they are."""
    values = ops.convert_to_numpy(old)
    if old.shape != new.shape:
        values = np.concatenate([values, ops.convert_to_numpy(new)[len(values) :]])
    new.assign(values)


def _start_new_items(grown: Recommender, first: int, features) -> None:
    """Sets the rows from `first` on. Other tables (`MatrixFactorization`'s bags) start anew."""
    embedding: ItemEmbedding = grown.item_embedding
    if first == grown.num_items:
        return
    if features is None:
        set_rows(embedding.embeddings, first, lambda old: old.mean(axis=0, dtype="float64"))
    else:
        set_rows(embedding.embeddings, first, 0.0)
        old_features = ops.convert_to_numpy(embedding.features)[:first]
        embedding.set_features(np.concatenate([old_features, features]))
    if isinstance(grown, SessionRecommender):
        for part in (grown.encoder, grown.objective, *grown.feedback_terms.values()):
            part.start_new_items(first)


def _start_beside_neighbors(grown: Recommender, first: int, sessions: Sessions) -> None:
    sessions.check_catalogue(grown.num_items)
    items, rows, num_events = sessions.item_ids, sessions.rows(), len(sessions.item_ids)
    table = ops.convert_to_numpy(grown.item_embedding.embeddings).astype("float64")
    sums, counts = np.zeros_like(table[first:]), np.zeros(len(table) - first)
    is_neighbor = (items <= first) & (sessions.feedback > 0)
    for step in (-2, -1, 1, 2):
        events = np.flatnonzero(items > first)
        events = events[(events + step >= 0) & (events + step < num_events)]
        near = events + step
        found = (rows[events] == rows[near]) & is_neighbor[near]
        new, old = items[events[found]] - 1 - first, items[near[found]] - 1
        np.add.at(sums, new, table[old])
        np.add.at(counts, new, 1)
    starts = table[first:]
    starts[counts > 0] = sums[counts > 0] / counts[counts > 0, np.newaxis]
    set_rows(grown.item_embedding.embeddings, first, starts)


def _compile_alike(model: Recommender, grown: Recommender) -> None:
    config = keras.saving.deserialize_keras_object(model.get_compile_config())
    del config["backend"]
    if isinstance(model, SessionRecommender) and isinstance(grown, SessionRecommender):
        of_old_size = keras.losses.serialize(model.objective.loss(model.num_items))
        for name, loss in config["loss"].items():
            if keras.losses.serialize(loss) == of_old_size:
                config["loss"][name] = grown.objective.loss(grown.num_items)
    grown.compile(**config)
    if not model.optimizer.built:
        return
    new_of = {id(old): new for old, new in zip(model.weights, grown.weights, strict=True)}
    trained = [(old, new_of[id(old)]) for old in trainable_variables_of(model.optimizer)]
    grown.optimizer.build([new for _, new in trained])
    for old, new in zip(model.optimizer.variables, grown.optimizer.variables, strict=True):
        _carry_over(old, new)
    optimizer: Any = getattr(grown.optimizer, "inner_optimizer", grown.optimizer)
    if optimizer.use_ema:  # averages of new rows that started at 0 would be far too short
        for (old, new), average in zip(trained, moving_averages(optimizer), strict=True):
            if old.shape != new.shape:
                first = old.shape[0]
                set_rows(average, first, ops.convert_to_numpy(new)[first:])
