"""The short way to a compiled model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_negrec import losses, optimizers
from keras_negrec.argument_checks import check_choice, check_positive_float
from keras_negrec.models.bert4rec import BERT4Rec
from keras_negrec.models.caser import Caser
from keras_negrec.models.gru4rec import GRU4Rec
from keras_negrec.models.negative_loss_names import negative_loss_names
from keras_negrec.models.sampling_rate import sampling_rate
from keras_negrec.models.sasrec import SASRec
from keras_negrec.models.session_recommender import SessionRecommender

_MODELS: dict[str, type[SessionRecommender]] = {
    "bert4rec": BERT4Rec,
    "caser": Caser,
    "gru4rec": GRU4Rec,
    "sasrec": SASRec,
}
_SAMPLE_ITEMS = 1000  # what simulate_sessions makes by default
_SAMPLED_BY_DEFAULT = 256


def build_model(
    name: str,
    *,
    num_items: int | None = None,
    vocabulary=None,
    item_features=None,
    max_length: int = 50,
    embedding_dim: int = 64,
    dropout: float = 0.2,
    objective: str = "softmax",
    calibration: float = 0.75,
    negative_loss: bool | str | Sequence[str] | Mapping[str, float] = False,
    negative_weight: float = 0.25,
    temperature: float = 0.1,
    context: str = "hidden",
    num_sampled_negatives: int | None = None,
    feedback_inputs: bool = False,
    learning_rate=None,
    optimizer=None,
    **kwargs,
) -> SessionRecommender:
    """Builds and compiles a sequential recommender.

    The total loss is that of the next item plus, each with its weight, those of the negative
    feedback. In the training history they are `next_item_loss`, `contrastive_loss` (the
    contrastive one), `not_to_recommend_loss` and `keep_loss`.

    Args:
        name: `"sasrec"`, `"bert4rec"`, `"gru4rec"` or `"caser"`.
        num_items: int. Size of the catalogue. Default: that of the vocabulary, and without
            one that of the built-in sample data, 1,000.
        vocabulary: `keras_negrec.data.Vocabulary` or None. With one, the model takes and gives
            external ids in `recommend` and `export`, and saves it inside its `.keras` file.
        item_features: float array of shape `(num_items, num_features)` or None: what is known of
            each item, row `j` for item `j + 1` (`vocabulary.items[j]`), scaled to a deviation of
            about 1. Items then have sensible vectors before their first play.
        max_length: int. The most events the encoder sees.
        embedding_dim: int. Width of item vectors and encoder.
        dropout: float from 0 up to but not including 1.
        objective: the loss of the next item: `"softmax"` cross-entropy, over the whole catalogue
            or with `num_sampled_negatives` a sample; `"gbce"`
            (`keras_negrec.losses.GeneralizedBinaryCrossentropy`); or `"bpr"`
            (`keras_negrec.losses.BayesianPersonalizedRanking`).
        calibration: float from 0 to 1. Of gBCE.
        negative_loss: which losses learn from skips: True or `"contrastive"`,
            `"not_to_recommend"` or `"keep"`, or several of them, but not the last two together; or
            a dict that gives each its own weight. `"keep"` is the binary cross-entropy of whether
            the shown item was kept: the model then learns what is shown next and which items are
            kept, and ranks by both.
        negative_weight: float above 0. Weight of these losses (alpha) where it is not given
            in `negative_loss`.
        temperature: float above 0. Temperature of the contrastive loss.
        context: `"hidden"` or `"item"`: what that loss moves, prediction or item vectors.
        num_sampled_negatives: int or None. Sampled negatives in training; None is the full softmax, and
            256 for the objectives that need a sample.
        feedback_inputs: bool. Whether the encoder sees how each event was received.
        learning_rate: float, or a Keras schedule, of `keras.optimizers.Adam`, or with
            `num_sampled_negatives` of `keras_negrec.optimizers.LazyAdam`; None is 0.001.
        optimizer: a Keras optimizer, or its name, in place of these. With `num_sampled_negatives`, only
            `LazyAdam` spares a step the rest of the item table.
        **kwargs: further arguments of the model class: the encoder's own, such as `num_layers`
            and `num_heads` of the transformers, and those of all models, such as `target`,
            `keep_weight`, `fused_softmax`, `similarity`, `sampling_distribution`,
            `skips_as_negatives` or `max_sessions`.

    Returns:
        A compiled functional Keras model of `keras_negrec.models`.

    Raises:
        ValueError: an unknown name or argument, or an argument outside of its range; both
            `learning_rate` and `optimizer`.

    Example:

    >>> model = keras_negrec.build_model("bert4rec", negative_loss=True)
    >>> sorted(model.output)
    ['contrastive', 'next_item']

    Reference:
        [Seshadri & Knees, 2023](https://arxiv.org/abs/2309.11623)
    """
    if name not in _MODELS:
        raise ValueError(
            f"Unknown model. Expected one of {', '.join(map(repr, sorted(_MODELS)))}. "
            f"Received: name={name!r}"
        )
    check_choice("objective", objective, ("softmax", "gbce", "bpr"))
    check_positive_float("negative_weight", negative_weight)
    if isinstance(learning_rate, int | float):
        check_positive_float("learning_rate", learning_rate)
    if optimizer is not None and learning_rate is not None:
        raise ValueError(
            "`learning_rate` is for the default optimizer; give `optimizer` its own. Received: "
            f"learning_rate={learning_rate!r}, optimizer={optimizer!r}"
        )
    policy = keras.dtype_policies.get(kwargs.get("dtype") or keras.config.dtype_policy())
    if policy.variable_dtype == "float16":
        raise ValueError(
            "Weights in float16 lose small changes. For products in float16, weights in float32, "
            f'give dtype="mixed_float16". Received: dtype={kwargs.get("dtype")!r}'
        )
    negative_losses = negative_loss_names(negative_loss)
    weights = negative_loss if isinstance(negative_loss, Mapping) else {}
    for key, weight in weights.items():
        check_positive_float(f"negative_loss[{key!r}]", weight)
    if objective != "softmax" and kwargs.get("fused_softmax"):
        raise ValueError(
            '`fused_softmax` is for objective="softmax". Received: fused_softmax=True, '
            f"objective={objective!r}"
        )
    if objective != "softmax" and num_sampled_negatives is None:
        num_sampled_negatives = _SAMPLED_BY_DEFAULT
    if num_items is None and vocabulary is None:
        num_items = _SAMPLE_ITEMS
    if item_features is not None:
        kwargs["num_features"] = np.shape(item_features)[-1] if np.ndim(item_features) else 0
    kwargs.setdefault("log_q_correction", objective == "softmax")
    model = _MODELS[name](
        num_items,
        vocabulary=vocabulary,
        max_length=max_length,
        embedding_dim=embedding_dim,
        dropout=dropout,
        negative_loss=negative_losses,
        context=context,
        num_sampled_negatives=num_sampled_negatives,
        feedback_inputs=feedback_inputs,
        name=name,
        **kwargs,
    )
    if item_features is not None:
        model.item_embedding.set_features(item_features)
    loss: dict[str, keras.losses.Loss] = {}
    if kwargs.get("fused_softmax"):
        loss["next_item"] = losses.Identity()
    elif objective == "softmax":
        loss["next_item"] = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )
    elif objective == "gbce":
        loss["next_item"] = losses.GeneralizedBinaryCrossentropy(
            sampling_rate(num_sampled_negatives or 0, model.num_items), calibration
        )
    else:
        loss["next_item"] = losses.BayesianPersonalizedRanking()
    loss_weights = {"next_item": 1.0}
    if "contrastive" in negative_losses:
        loss["contrastive"] = losses.NegativeFeedbackContrastive(temperature=temperature)
        loss_weights["contrastive"] = float(weights.get("contrastive", negative_weight))
    if "not_to_recommend" in negative_losses:
        loss["not_to_recommend"] = losses.NotToRecommend()
        loss_weights["not_to_recommend"] = float(weights.get("not_to_recommend", negative_weight))
    if "keep" in negative_losses:
        loss["keep"] = keras.losses.BinaryCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )
        loss_weights["keep"] = float(weights.get("keep", negative_weight))
    sampled = num_sampled_negatives is not None
    if optimizer is None:
        default = optimizers.LazyAdam if sampled else keras.optimizers.Adam
        optimizer = default(1e-3 if learning_rate is None else learning_rate)
    if policy.name == "mixed_float16" and isinstance(optimizer, optimizers.LazyAdam):
        optimizer = optimizers.LossScaleOptimizer(optimizer)
    model.compile(
        optimizer=optimizer,
        loss=loss,
        loss_weights=loss_weights,
        # XLA on TensorFlow copies a table to change rows of it.
        jit_compile=False if sampled and keras.config.backend() == "tensorflow" else "auto",
    )
    return model
