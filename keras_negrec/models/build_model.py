"""The short way to a compiled model."""

from __future__ import annotations

import keras

from keras_negrec.argument_checks import check_positive_float
from keras_negrec.losses import NegativeFeedbackContrastive
from keras_negrec.models.bert4rec import BERT4Rec
from keras_negrec.models.sasrec import SASRec
from keras_negrec.models.session_recommender import SessionRecommender

_MODELS: dict[str, type[SessionRecommender]] = {"bert4rec": BERT4Rec, "sasrec": SASRec}
_SAMPLE_ITEMS = 1000  # what simulate_sessions makes by default


def build_model(
    name: str,
    *,
    num_items: int | None = None,
    vocabulary=None,
    max_length: int = 50,
    embedding_dim: int = 64,
    num_layers: int = 2,
    num_heads: int = 2,
    intermediate_dim: int | None = None,
    dropout: float = 0.2,
    negative_loss: bool = False,
    negative_weight: float = 0.25,
    temperature: float = 0.1,
    context: str = "hidden",
    num_negatives: int | None = None,
    feedback_inputs: bool = False,
    learning_rate: float = 1e-3,
    **kwargs,
) -> SessionRecommender:
    """Builds and compiles a sequential recommender.

    The total loss is `next_item + negative_weight * negative_feedback`: softmax cross-entropy
    of the next item, and the contrastive negative-feedback loss.

    Args:
        name: `"sasrec"` or `"bert4rec"`.
        num_items: int. Size of the catalogue. Default: that of the vocabulary, and without
            one that of the built-in sample data, 1,000.
        vocabulary: `keras_negrec.data.Vocabulary` or None. With one, the model takes and gives
            external ids in `recommend` and `export`, and saves it inside its `.keras` file.
        max_length: int. The most events the encoder sees.
        embedding_dim: int. Width of item vectors and encoder.
        num_layers: int. Transformer blocks.
        num_heads: int. Attention heads; must divide `embedding_dim`.
        intermediate_dim: int or None. Width of the feed-forward networks; None is 4 times
            `embedding_dim`.
        dropout: float from 0 up to but not including 1.
        negative_loss: bool. Whether to learn from skips with the contrastive term.
        negative_weight: float above 0. Weight of that term (alpha).
        temperature: float above 0. Temperature of that term.
        context: `"hidden"` or `"item"`: what that term moves, prediction or item vectors.
        num_negatives: int or None. Sampled negatives in training; None is the full softmax.
        feedback_inputs: bool. Whether the encoder sees how each event was received.
        learning_rate: float, or a Keras schedule, of Adam.
        **kwargs: further arguments of the model class, such as `target` or `max_sessions`.

    Returns:
        A compiled functional Keras model: `keras_negrec.models.SASRec` or `BERT4Rec`.

    Raises:
        ValueError: an unknown name, or an argument outside of its range.

    Example:

    >>> model = keras_negrec.build_model("bert4rec", negative_loss=True)
    >>> sorted(model.output)
    ['negative_feedback', 'next_item']

    Reference:
        [Seshadri & Knees, 2023](https://arxiv.org/abs/2309.11623)
    """
    if name not in _MODELS:
        raise ValueError(
            f"Unknown model. Expected one of {', '.join(map(repr, sorted(_MODELS)))}. "
            f"Received: name={name!r}"
        )
    check_positive_float("negative_weight", negative_weight)
    if num_items is None and vocabulary is None:
        num_items = _SAMPLE_ITEMS
    model = _MODELS[name](
        num_items,
        vocabulary=vocabulary,
        max_length=max_length,
        embedding_dim=embedding_dim,
        num_layers=num_layers,
        num_heads=num_heads,
        intermediate_dim=intermediate_dim,
        dropout=dropout,
        negative_loss=negative_loss,
        context=context,
        num_negatives=num_negatives,
        feedback_inputs=feedback_inputs,
        name=name,
        **kwargs,
    )
    loss: dict[str, keras.losses.Loss] = {
        "next_item": keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )
    }
    loss_weights = {"next_item": 1.0}
    if negative_loss:
        loss["negative_feedback"] = NegativeFeedbackContrastive(temperature=temperature)
        loss_weights["negative_feedback"] = float(negative_weight)
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate), loss=loss, loss_weights=loss_weights
    )
    return model
