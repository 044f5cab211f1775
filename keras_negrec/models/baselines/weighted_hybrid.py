"""Models of different kinds that answer as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_negrec.data import Sessions


class WeightedHybrid:
    """Scores an item by the weighted sum of what several models say, whatever the scale of each.

    The scores of a model are standardized for each history: less their mean over the catalogue,
    and divided by their standard deviation there. A model that scores all items alike, such as
    `ItemCooccurrence` after a history without a kept event, plays no part there.

    It joins what one encoder learned with what was counted, which helps where the data are few;
    `Ensemble` joins encoders alike in kind, and can be saved and exported, as this cannot. Weights
    are chosen by `evaluate` on validation data, once the models are trained.

    Args:
        models: models of one catalogue: anything with `num_items` and `score(histories)`.
        weights: a float for each of the models.

    Raises:
        ValueError: no model; models of different catalogues; another number of weights than of
            models, or a weight that is not finite.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3], [3, 2]])
    >>> popularity = keras_negrec.models.Popularity(sessions, num_items=3)
    >>> cooccurrence = keras_negrec.models.ItemCooccurrence(sessions, num_items=3)
    >>> hybrid = keras_negrec.models.WeightedHybrid([popularity, cooccurrence], [1.0, 0.2])
    >>> hybrid.score(sessions).shape
    (2, 3)

    Reference:
        [Burke, 2002](https://doi.org/10.1023/A:1021240730564)
    """

    def __init__(self, models: Sequence, weights: Sequence[float]):
        self.models, self.weights = list(models), [float(weight) for weight in weights]
        if not self.models:
            raise ValueError("`models` must hold at least one model. Received: none.")
        if len(self.weights) != len(self.models) or not np.isfinite(self.weights).all():
            raise ValueError(
                f"`weights` must hold a finite number for each of the {len(self.models)} models. "
                f"Received: weights={weights!r}"
            )
        self.num_items = self.models[0].num_items
        vocabularies = [getattr(model, "vocabulary", None) for model in self.models]
        self.vocabulary = next((found for found in vocabularies if found is not None), None)
        for model, vocabulary in zip(self.models, vocabularies, strict=True):
            if model.num_items != self.num_items or vocabulary not in (None, self.vocabulary):
                raise ValueError(
                    "`models` must be of one catalogue. Received models of "
                    f"{self.num_items} items ({self.vocabulary}) and of "
                    f"{model.num_items} ({vocabulary})."
                )

    def score(self, histories: Sessions) -> np.ndarray:
        """float32 array of shape `(num_rows, num_items)`, column `j` for item `j + 1`."""
        total = np.zeros((len(histories), self.num_items), "float32")
        for model, weight in zip(self.models, self.weights, strict=True):
            scores = np.asarray(model.score(histories), "float32")
            mean = scores.mean(axis=1, keepdims=True, dtype="float64")
            spread = scores.std(axis=1, keepdims=True, dtype="float64")
            alike = scores.max(axis=1, keepdims=True) == scores.min(axis=1, keepdims=True)
            spread[alike] = np.inf
            scores = scores - mean.astype("float32")  # a copy: the model may hand out its own
            scores *= (weight / spread).astype("float32")
            total += scores
        return total
