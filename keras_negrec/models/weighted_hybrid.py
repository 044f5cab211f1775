"""Models of different kinds that rank as one, such as an encoder and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keras_negrec.data import Examples, Sessions
from keras_negrec.models.baselines.counts import ItemCooccurrence
from keras_negrec.models.ensemble import common_exclude_seen, common_vocabulary
from keras_negrec.models.recommender import Recommender

GRID = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


class WeightedHybrid:
    """Scores an item by the weighted sum of what several models say, whatever the scale of each.

    The scores of a model are standardized for each history: less their mean over the catalogue,
    and divided by their standard deviation there. A model that scores all items alike, such as
    `ItemCooccurrence` after a history without a kept event, plays no part there.

    It joins what one encoder learned with what was counted, which helps where the data are few.
    `export` takes a hybrid of one trained model and one `ItemCooccurrence`. Several encoders alike
    in kind are an `Ensemble`.

    Args:
        models: models of one catalogue: anything with `num_items` and `score(histories)`.
        weights: a float for each of the models, such as `WeightedHybrid.chosen` finds.

    Attributes:
        models: the models, in order.
        weights: list of float.

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
        self.vocabulary = common_vocabulary(self.models)
        if len(self.weights) != len(self.models) or not np.isfinite(self.weights).all():
            raise ValueError(
                f"`weights` must hold a finite number for each of the {len(self.models)} models. "
                f"Received: weights={weights!r}"
            )
        self.num_items = self.models[0].num_items
        self.exclude_seen = common_exclude_seen(self.models)

    @classmethod
    def chosen(
        cls,
        models: Sequence,
        validation: Examples,
        *,
        monitor: str = "ndcg@10",
        weights: Sequence[float] = GRID,
        max_examples: int = 5000,
        seed: int = 0,
    ) -> WeightedHybrid:
        """A hybrid with the weights that rank validation data best.

        The first model has weight 1. The others, one after the other, get the one of `weights` with
        the highest `monitor`; of equal ones the first.

        Args:
            models: as for the class, trained without the validation data.
            validation: `Examples` that are not those of the test.
            monitor: str. A metric of `evaluate` that is better where it is higher.
            weights: floats to choose from.
            max_examples: int. Of more examples, so many are drawn at random.
            seed: int. Of that draw.

        Raises:
            ValueError: no weight to choose from; no example that has the metric; as for the class.

        Example:

        >>> lists = [[1, 2, 3, 4], [2, 3, 1, 4], [1, 2, 3, 4]]
        >>> split = keras_negrec.data.leave_one_out(keras_negrec.data.Sessions.from_lists(lists))
        >>> cooccurrence = keras_negrec.models.ItemCooccurrence(split.train, num_items=4)
        >>> popularity = keras_negrec.models.Popularity(split.train, num_items=4)
        >>> models = [cooccurrence, popularity]
        >>> keras_negrec.models.WeightedHybrid.chosen(models, split.validation).weights
        [1.0, 0.05]
        """
        from keras_negrec.evaluation import evaluate  # which imports models

        if not len(weights):
            raise ValueError("`weights` must hold a number to choose from. Received: none.")
        if len(validation) > max_examples:
            rows = np.random.default_rng(seed).permutation(len(validation))[:max_examples]
            validation = validation.take(np.sort(rows))
        found = [1.0] + [0.0] * (len(models) - 1)
        for which in range(1, len(found)):
            values = []
            for weight in weights:
                found[which] = float(weight)
                values.append(evaluate(cls(models, found), validation)[monitor])
            if np.isnan(values).any():
                raise ValueError(f"`validation` must have examples with a known {monitor}.")
            found[which] = float(weights[int(np.argmax(values))])
        return cls(models, found)

    def exported_parts(self) -> tuple[Recommender, float, ItemCooccurrence, float]:
        """The trained model and the counts that `export` takes, each with its weight.

        A TypeError where it is made of anything else.
        """
        parts = list(zip(self.models, self.weights, strict=True))
        for (one, of_one), (other, of_other) in (parts, parts[::-1]) if len(parts) == 2 else ():
            if isinstance(one, Recommender) and isinstance(other, ItemCooccurrence):
                return one, of_one, other, of_other
        kinds = ", ".join(type(model).__name__ for model in self.models)
        raise TypeError(
            "A hybrid can be exported if it is of one trained model and one ItemCooccurrence. "
            f"Received one of: {kinds}"
        )

    def score(self, histories: Sessions, *, ranking_weights: Mapping | None = None) -> np.ndarray:
        """float32 array of shape `(num_rows, num_items)`, column `j` for item `j + 1`.

        `ranking_weights` are for the trained models, as in `recommend`.
        """
        total = np.zeros((len(histories), self.num_items), "float32")
        for model, weight in zip(self.models, self.weights, strict=True):
            asks = isinstance(model, Recommender) and ranking_weights
            options = {"ranking_weights": ranking_weights} if asks else {}
            scores = np.asarray(model.score(histories, **options), "float32")
            mean = scores.mean(axis=1, keepdims=True, dtype="float64")
            spread = scores.std(axis=1, keepdims=True, dtype="float64")
            alike = scores.max(axis=1, keepdims=True) == scores.min(axis=1, keepdims=True)
            spread[alike] = np.inf
            scores = scores - mean.astype("float32")  # a copy: the model may hand out its own
            scores *= (weight / spread).astype("float32")
            total += scores
        return total
