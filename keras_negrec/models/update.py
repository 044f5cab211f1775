"""From yesterday's model to today's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Sessions, TrainingData, Vocabulary
from keras_negrec.models.ensemble import Ensemble
from keras_negrec.models.finite_weights import check_finite
from keras_negrec.models.grow_vocabulary import grow_to
from keras_negrec.models.item_description import described
from keras_negrec.models.recommender import Recommender


def update(
    model: Recommender,
    sessions: TrainingData,
    *,
    vocabulary: Vocabulary | None = None,
    item_features=None,
    item_vectors=None,
    retired: Iterable = (),
    epochs: int = 1,
    batch_size: int = 128,
    seed: int = 0,
    fit_options: Mapping[str, Any] | None = None,
) -> Recommender:
    """A model that has gone on training on new sessions, and follows its catalogue.

    Weights and optimizer go on where those of `model` were, which is not changed. Items that are
    new in the vocabulary are added first: see `grow_vocabulary`. Without item features they start
    beside the items that were kept next to them.

    New sessions alone let a model forget the older ones: give it some of these again, as
    `Prepared.newest(replay=...)` does.

    Args:
        model: a model of this package that is trained with Keras, with a vocabulary.
        sessions: `Sessions` or `Prepared`, what it trains on.
        vocabulary: `Vocabulary` of the sessions, which begins with the items of the model's own.
            Default: that of `Prepared`, else the model's.
        item_features, item_vectors: of the new items, as `grow_vocabulary` takes them.
        retired: external ids of items that have left the catalogue: they stay known in histories
            and are never recommended again.
        epochs: int. Passes over the sessions.
        batch_size, seed: as in `training_dataset`. Another seed each time gives other batches.
        fit_options: mapping or None. Further arguments of `fit`, such as `callbacks`.

    Returns:
        A model of the class of `model`.

    Raises:
        TypeError: a model that is not trained with Keras.
        ValueError: a vocabulary that does not begin with the model's items; all items retired;
            weights that are not finite; as in `grow_vocabulary` and `training_dataset`.
        KeyError: a retired item that the vocabulary does not know.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> model = keras_negrec.build_model("gru4rec", vocabulary=vocabulary)
    >>> today = vocabulary.grow(["bridge"])
    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 4, 3], [2, 4]])
    >>> model = keras_negrec.update(
    ...     model, sessions, vocabulary=today, retired=["verse"], fit_options={"verbose": 0}
    ... )
    >>> sorted(each.item for each in keras_negrec.recommend(model, [["intro"]])[0])
    ['bridge', 'outro']
    """
    if isinstance(model, Ensemble) or not isinstance(model, Recommender):
        raise TypeError(
            "`update` takes a model that is trained with Keras; of an `Ensemble`, update each of "
            f"its `models`. Received one of type {type(model).__name__}"
        )
    known = model.vocabulary
    if known is None:
        raise ValueError("`update` needs a model with a vocabulary. Received: None")
    check_positive_int("epochs", epochs)
    check_finite(model)
    vocabulary = vocabulary or getattr(sessions, "vocabulary", None) or known
    if not isinstance(vocabulary, Vocabulary):
        raise TypeError(
            "`vocabulary` must be a `keras_negrec.data.Vocabulary`. Received one of type "
            f"{type(vocabulary).__name__}."
        )
    given = [*vocabulary.items[: len(known)].tolist(), *["none"] * (len(known) - len(vocabulary))]
    for index, (item, received) in enumerate(zip(known.items.tolist(), given, strict=True)):
        if received != item:
            raise ValueError(
                "The vocabulary must begin with the items of the model's, in the same order, as it "
                f"does after `append`. Item {index + 1} must be {item!r}. Received: {received!r}"
            )
    left = vocabulary.retire(known.retired).retire(retired)
    if len(left.retired) == len(left):
        raise ValueError(f"One item at least must not be retired. Received: all {len(left)}")
    neighbors = None
    if len(vocabulary) > len(known) and model.item_embedding.num_features is None:
        neighbors = Sessions.concatenate(list(sessions.chunks()))
    model = grow_to(model, vocabulary, described(item_features, item_vectors), neighbors)
    model.vocabulary = left
    dataset = model.training_dataset(sessions, batch_size=batch_size, seed=seed)
    model.fit(dataset, epochs=epochs, shuffle=False, **(fit_options or {}))
    return model
