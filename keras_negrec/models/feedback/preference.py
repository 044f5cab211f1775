"""The preference term."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec import layers, losses
from keras_negrec.argument_checks import check_positive_float
from keras_negrec.models.feedback.contrastive import next_kept_against_skipped
from keras_negrec.models.feedback.feedback_term import FeedbackTerm


@keras.saving.register_keras_serializable(package="keras_negrec.models")
class Preference(FeedbackTerm):
    """Prefers the next kept item to the skipped ones of the session, more than a reference does.

    Direct preference optimisation with several negatives: of the kept item `p`, the skipped ones
    `N`, and `d` the logit of the model less that of a frozen reference,

        loss = -log sigmoid(-log(sum over n in N of exp(beta * (d(n) - d(p)))))

    which is the cross-entropy of `p` among `p` and `N` by `beta * d`. As a second stage, the
    reference is the model after ordinary training, see `keras_negrec.models.with_feedback`: the
    term then moves the model no further from it than skips ask for. Without a reference `d` is the
    logit itself; with one negative that is BPR among what was shown.

    The output is `(batch, targets, length)`, `d` for the items of the row.

    Args:
        weight: float above 0.
        beta: float above 0. The less, the further the model may move from the reference.
        reference: a `SessionRecommender` of the same catalogue, or None. It is copied, and saved
            with the model, which has no further use for it when it is trained.

    Raises:
        ValueError: `beta` not above 0; a reference of another catalogue or other event columns;
            a causal one beside a cloze model, or the other way round.

    Example:

    >>> model = keras_negrec.build_model("sasrec", num_items=9)
    >>> term = keras_negrec.models.feedback.Preference(reference=model)
    >>> second = keras_negrec.models.with_feedback(model, [term])
    >>> sorted(second.output)
    ['next_item', 'preference']

    Reference:
        [Chen et al., 2024](https://arxiv.org/abs/2406.09215);
        [Rafailov et al., 2023](https://arxiv.org/abs/2305.18290)
    """

    name = "preference"
    inputs = ("candidate_ids",)

    def __init__(self, weight=0.25, *, beta=1.0, reference=None):
        super().__init__(weight)
        self.beta = check_positive_float("beta", beta)
        self.reference = reference

    @classmethod
    def from_config(cls, config):
        reference = config["reference"]
        if isinstance(reference, dict):  # from a file
            reference = keras.saving.deserialize_keras_object(reference)
        return cls(**{**config, "reference": reference})

    def attach(self, item_embedding, objective, *, dtype):
        self._item_embedding = item_embedding
        self._layer = layers.FeedbackSimilarity("dot", dtype=dtype, name="preference_logits")
        self._frozen = None
        if self.reference is not None:
            if self.reference.num_items != item_embedding.num_items:
                raise ValueError(
                    f"`reference` must know the same {item_embedding.num_items} items. Received "
                    f"one of {self.reference.num_items}."
                )
            if self.reference.encoder.causal == item_embedding.mask_token:
                raise ValueError(
                    "`reference` must be causal if the model is, and a cloze model if that is one: "
                    "else it sees what the model must predict. Received a reference with "
                    f"causal={self.reference.encoder.causal}"
                )
            # Keras on PyTorch knows weights by their paths: two of one path, and one is forgotten.
            with keras.name_scope("reference"):
                self._frozen = _logits_of(self.reference.clone())

    def training_columns(self, targets, objective):
        return next_kept_against_skipped(
            self.name, targets, targets.positive_columns, targets.session_columns
        )

    def output(self, predictions, inputs, logits):
        logits = self._layer(predictions, self._item_embedding(inputs["candidate_ids"]))
        if self._frozen is None:
            return logits
        missing = [name for name in self._frozen.input if name not in inputs]
        if missing:
            raise ValueError(
                f"`reference` reads the event column `{missing[0]}`, which the model does not. "
                f"Received: {[*inputs]}"
            )
        frozen = self._frozen({name: inputs[name] for name in self._frozen.input}, training=False)
        return logits - ops.cast(frozen, logits.dtype)

    def loss(self):
        return losses.NegativeFeedbackContrastive(temperature=1 / self.beta)


def _logits_of(model) -> keras.Model:
    """A model of a model's logits for the items of a row, which does not train."""
    names = [*model.encoder.inputs, "target_positions"]
    inputs = {name: model.input[name] for name in names}
    ids = keras.Input((None,), dtype="int32", name="candidate_ids")
    predictions = model.encoder(inputs, inputs["target_positions"])
    similarity = layers.FeedbackSimilarity("dot", dtype=model.dtype_policy, name="logits")
    logits = similarity(predictions, model.item_embedding(ids))
    frozen = keras.Model({**inputs, "candidate_ids": ids}, logits, name="reference")
    frozen.trainable = False
    return frozen
