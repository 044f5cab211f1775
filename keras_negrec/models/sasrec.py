"""SASRec."""

from __future__ import annotations

import keras

from keras_negrec.data import NextItemTargets
from keras_negrec.models.session_recommender import SessionRecommender


@keras.saving.register_keras_serializable(package="keras_negrec")
class SASRec(SessionRecommender):
    """Causal self-attention: at every position the next item from the events up to it.

    Differs from the paper in the objective, softmax over the catalogue (full or sampled) in
    place of binary cross-entropy with one negative, which is known to rank better. As in the
    paper the encoder's outputs are the prediction vectors.

    Arguments, inputs and outputs are those of `SessionRecommender`.

    Example:

    >>> model = keras_negrec.models.SASRec(num_items=100, embedding_dim=8)
    >>> model.output["next_item"].shape
    (None, None, 100)

    Reference:
        [Kang & McAuley, 2018](https://arxiv.org/abs/1808.09781);
        [Klenitskiy & Vasilev, 2023](https://arxiv.org/abs/2309.07602) on the objective.
    """

    causal = True
    transform_predictions = False

    def targets(self, seed: int = 0) -> NextItemTargets:
        return NextItemTargets(
            target=self._config["target"],
            negative_feedback=self._config["context"] if self._config["negative_loss"] else None,
            sampled=self._config["num_negatives"] is not None,
        )
