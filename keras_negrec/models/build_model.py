"""The short way to a compiled model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import keras

from keras_negrec import optimizers
from keras_negrec.argument_checks import check_choice, check_positive_float
from keras_negrec.models.encoders import ENCODERS, Encoder
from keras_negrec.models.feedback import FEEDBACK_TERMS, FeedbackTerm, Keep
from keras_negrec.models.item_description import described, scaled
from keras_negrec.models.objectives import OBJECTIVES, Objective
from keras_negrec.models.session_recommender import SessionRecommender

_MANY_ITEMS = 20_000  # above, a softmax over all of them is a matter of memory and patience
_SAMPLE_ITEMS = 1000  # what simulate_sessions makes by default
# Options that say something of a part only where it is chosen, so that settings can be swept.
_MAY_BE_UNUSED = ("temperature", "context", "similarity", "calibration")


def build_model(
    encoder: str | Encoder,
    *,
    num_items: int | None = None,
    vocabulary=None,
    item_features=None,
    item_vectors=None,
    train_item_vectors: bool = False,
    max_length: int = 50,
    embedding_dim: int = 64,
    exclude_seen: bool = True,
    objective: str | Objective = "softmax",
    feedback: Sequence[FeedbackTerm] = (),
    negative_loss: bool | str | Sequence[str] | Mapping[str, float] = False,
    negative_weight: float = 0.25,
    learning_rate=None,
    optimizer=None,
    dtype=None,
    name: str | None = None,
    **options,
) -> SessionRecommender:
    """Builds and compiles a sequential recommender.

    The total loss is that of the next item plus, each with its weight, those of the feedback
    terms: `next_item_loss`, and `keep_loss`, `contrastive_loss` and so on.

    Args:
        encoder: `"sasrec"`, `"bert4rec"`, `"gru4rec"`, `"caser"`, or `"hstu"`, whose sessions
            must have times; or a `keras_negrec.models.Encoder`, a class of your own included.
        num_items: int. Size of the catalogue. Default: that of the vocabulary, and without
            one that of the built-in sample data, 1,000.
        vocabulary: `keras_negrec.data.Vocabulary` or None. With one, the model takes and gives
            external ids in `recommend` and `export`, and saves it inside its `.keras` file.
        item_features: float array of shape `(num_items, num_features)` or None: what is known of
            each item, row `j` for item `j + 1` (`vocabulary.items[j]`), scaled to a deviation of
            about 1. Items then have sensible vectors before their first play.
        item_vectors: float array of shape `(num_items, n)` or None: vectors of the items that you
            have already, such as of text by `keras_hub.models.TextEmbedder`. They stay as they are,
            but for a common length: what is learned is a linear map of them, as of features.
        train_item_vectors: bool. Whether these are trained instead: they are then the item table at
            its start, and `n` is `embedding_dim`.
        max_length: int. The most events the encoder sees.
        embedding_dim: int. Width of item vectors and encoder.
        exclude_seen: bool. Whether items of a history are left out of what is recommended after
            it, in `recommend`, exports and evaluation. False where people come back to items, as to
            music; `keras_negrec.data.prepare` says how often they do.
        objective: how the next item is learned: `"softmax"`, over the whole catalogue or with
            `num_sampled_negatives` a sample; `"gbce"`; `"bpr"`; or a
            `keras_negrec.models.Objective`.
        feedback: feedback terms, objects of `keras_negrec.models.feedback` or your own.
        negative_loss: terms by name: True or `"keep"`, which learns what is shown next and which
            items are kept, and ranks by both; `"contrastive"`, `"not_to_recommend"` or
            `"preference"`; or several of them, but not `"keep"` with `"not_to_recommend"`; or a
            dict that gives each its own weight.
        negative_weight: float above 0. Weight (alpha) of the terms that `negative_loss` names
            without one.
        learning_rate: float, or a Keras schedule, of `keras.optimizers.Adam`, or with sampled
            negatives of `keras_negrec.optimizers.LazyAdam`; None is 0.001.
        optimizer: a Keras optimizer, or its name, in place of these. With sampled negatives, only
            `LazyAdam` spares a step the rest of the item table.
        dtype: dtype or dtype policy of the layers.
        name: str or None. Of the Keras model; None is that of the encoder.
        **options: arguments of the parts that are given by name: of the encoder
            (`keras_negrec.models.Encoder` and its subclasses: `dropout`, `feedback_inputs`,
            `max_sessions`, `time_periods`, `num_layers`, `block` ...), of the objective
            (`num_sampled_negatives`, `sampling_distribution`, `skips_as_negatives`, `calibration`,
            `target`, and `fused_softmax` for a softmax whose logits are never in memory), and of
            the feedback terms (`keep_weight`, `horizon`, `context_dim`, `temperature`, `context`,
            `similarity`, `projection_dim`, `beta`, `reference`).

    Returns:
        A compiled `keras_negrec.models.SessionRecommender`, a functional Keras model. Give its
        `fit` the callback `keras_negrec.callbacks.StopOnNonFinite`: a training that goes wrong
        then ends with an error that says where.

    A softmax over more than 20,000 items gives a warning that says how much memory it takes.

    Raises:
        ValueError: an unknown name or argument, or an argument outside of its range; both
            `learning_rate` and `optimizer`; features or vectors of another shape, or not finite.
        TypeError: a part that is neither a name nor an object of its kind.

    Example:

    >>> model = keras_negrec.build_model("bert4rec", negative_loss=True)
    >>> sorted(model.output)
    ['keep', 'next_item']

    Settings that worked well on one kind of log each are in `keras_negrec.models.RECIPES`:

    >>> sorted(keras_negrec.models.RECIPES)
    ['long-histories-with-times', 'many-skips', 'order-says-little', 'short-histories']
    >>> model = keras_negrec.build_model(**keras_negrec.models.RECIPES["short-histories"])
    """
    if isinstance(learning_rate, int | float):
        check_positive_float("learning_rate", learning_rate)
    if optimizer is not None and learning_rate is not None:
        raise ValueError(
            "`learning_rate` is for the default optimizer; give `optimizer` its own. Received: "
            f"learning_rate={learning_rate!r}, optimizer={optimizer!r}"
        )
    policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
    if policy.variable_dtype == "float16":
        raise ValueError(
            "Weights in float16 lose small changes. For products in float16, weights in float32, "
            f'give dtype="mixed_float16". Received: dtype={dtype!r}'
        )
    if num_items is None and vocabulary is None:
        num_items = _SAMPLE_ITEMS
    if train_item_vectors and item_vectors is None:
        raise ValueError("`train_item_vectors` needs `item_vectors`. Received: item_vectors=None")
    features = described(item_features, None if train_item_vectors else item_vectors)
    weights = _weights(negative_loss, negative_weight)
    taken: dict[type, list[str]] = {}  # the arguments of each part that is given by name

    def make(kind, **given):
        taken[kind] = _arguments(kind)
        return kind(**given, **{key: options[key] for key in taken[kind] if key in options})

    if isinstance(encoder, str):
        check_choice("encoder", encoder, tuple(ENCODERS))
        name = name or encoder
        encoder = make(ENCODERS[encoder])
    if isinstance(objective, str):
        check_choice("objective", objective, tuple(OBJECTIVES))
        if options.get("num_sampled_negatives", 0) is None:  # as if it were not given
            del options["num_sampled_negatives"]
        if objective == "softmax" and "num_sampled_negatives" in options:
            objective = "sampled_softmax"
        fused = {"fused": True} if options.pop("fused_softmax", False) else {}
        if fused and objective != "softmax":
            raise ValueError(
                '`fused_softmax` is for objective="softmax" over the whole catalogue, without '
                f"`num_sampled_negatives`. Received: fused_softmax=True, objective={objective!r}"
            )
        _warn_of_large_softmax(objective, fused, num_items or len(vocabulary), max_length)
        objective = make(OBJECTIVES[objective], **fused)
    terms = [make(FEEDBACK_TERMS[term], weight=weight) for term, weight in weights.items()]
    _check_options(options, taken)
    model = SessionRecommender(
        encoder,
        num_items=num_items,
        vocabulary=vocabulary,
        objective=objective,
        feedback=[*terms, *feedback],
        max_length=max_length,
        embedding_dim=embedding_dim,
        exclude_seen=exclude_seen,
        num_features=None if features is None else features.shape[-1],
        dtype=dtype,
        name=name,
    )
    if features is not None:
        model.item_embedding.set_features(features)
    if train_item_vectors:
        model.item_embedding.start_from(scaled(item_vectors))
    if optimizer is None:
        default = optimizers.LazyAdam if model.objective.reads_rows else keras.optimizers.Adam
        optimizer = default(1e-3 if learning_rate is None else learning_rate)
    if policy.name == "mixed_float16" and isinstance(optimizer, optimizers.LazyAdam):
        optimizer = optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer)
    return model


def _warn_of_large_softmax(objective: str, fused: dict, num_items: int, max_length: int) -> None:
    if objective == "softmax" and not fused and num_items > _MANY_ITEMS:
        size = 128 * max_length * num_items * 4 / 2**30
        warnings.warn(
            f"A softmax over all {num_items:,} items makes {size:.1f} GiB of scores at a step of "
            f"128 sessions of {max_length} events, and takes its time. num_sampled_negatives=256 "
            "scores a sample; fused_softmax=True scores all without holding them in memory.",
            stacklevel=3,
        )


def _weights(negative_loss, negative_weight: float) -> dict[str, float]:
    """The weight of each term that `negative_loss` names, in the order of the registry."""
    check_positive_float("negative_weight", negative_weight)
    if isinstance(negative_loss, bool):
        negative_loss = [Keep.name] if negative_loss else []
    names = [negative_loss] if isinstance(negative_loss, str) else list(negative_loss or ())
    given = dict.fromkeys(names, negative_weight)
    if isinstance(negative_loss, Mapping):
        given = dict(negative_loss)
    for term, weight in given.items():
        check_choice("negative_loss", term, (True, False, *FEEDBACK_TERMS))
        check_positive_float(f"negative_loss[{term!r}]", weight)
    return {term: float(given[term]) for term in FEEDBACK_TERMS if term in given}


def _check_options(options: dict, taken: dict[type, list[str]]) -> None:
    """An error for an option that is none of the parts' that are given by name."""
    for option, value in options.items():
        if any(option in names for names in taken.values()):
            continue
        kinds = [*ENCODERS.values(), *OBJECTIVES.values(), *FEEDBACK_TERMS.values()]
        owners = [kind for kind in kinds if option in _arguments(kind)]
        if owners and option in _MAY_BE_UNUSED:
            owners[0](**{option: value})  # refuses what would be wrong where it is used
            continue
        here = "; ".join(f"{kind.__name__}: {', '.join(names)}" for kind, names in taken.items())
        of = " and ".join(owner.__name__ for owner in owners)
        raise ValueError(
            f"No part of this model has an argument `{option}`"
            f"{f': `{option}` is an argument of {of}' if of else ''}. The arguments here are "
            f"{here or 'those of the objects given'}. Received: {option}={value!r}"
        )


def _arguments(kind: type) -> list[str]:
    """The arguments of a built-in part that are options here."""
    return [name for name in kind().get_config() if name not in ("weight", "fused")]
