"""Hits against skips, as far as one trained model can trade them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_choice, check_positive_int
from keras_negrec.data import Examples
from keras_negrec.evaluation.evaluate import evaluate

_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
_ENDS = {"equal hits": ("hr", "skip_hr"), "equal skips": ("skip_hr", "hr")}


class TradeOff:
    """Points between most hits and fewest skips, in the order of the weight that was changed.

    Attributes:
        term: str. The feedback term whose weight in the ranking was changed.
        k: int. The cut-off.
        table: `pandas.DataFrame` of floats with the columns `weight`, `hr@k` and `skip_hr@k`.
    """

    def __init__(self, term: str, k: int, table: pd.DataFrame):
        self.term, self.k, self.table = term, k, table

    def at(self, which: str, value: float) -> dict[str, float]:
        """The best point where hits, or skips, are as given: between two points on their line.

        Args:
            which: `"equal hits"`, for the fewest skips where `hr@k` is `value`, or
                `"equal skips"`, for the most hits where `skip_hr@k` is `value`.
            value: float.

        Returns:
            dict with `weight`, `hr@k` and `skip_hr@k`, NaN where no weight gets there.
        """
        check_choice("which", which, tuple(_ENDS))
        given, sought = (f"{name}@{self.k}" for name in _ENDS[which])
        points = []
        for before, after in itertools.pairwise(self.table.to_dict("records")):
            low, high = sorted((before[given], after[given]))
            if low <= value <= high:
                way = (
                    0.0 if low == high else (value - before[given]) / (after[given] - before[given])
                )
                points.append(
                    {name: before[name] + way * (after[name] - before[name]) for name in before}
                )
        if not points:
            return dict.fromkeys(self.table.columns, math.nan)
        best = min if which == "equal hits" else max
        return best(points, key=lambda point: point[sought])

    def figure(self, beside: Mapping[str, Mapping] | None = None) -> Any:
        """A `matplotlib` figure of the curve; less is better to the right, more upwards.

        Args:
            beside: metrics of other models by label, as `evaluate` gives them.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                "The figure needs matplotlib: pip install 'keras-negrec[plot]'"
            ) from error
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        panel = figure.subplots()
        hits, skips = f"hr@{self.k}", f"skip_hr@{self.k}"
        label = f'one model, the weight of "{self.term}" from least to most'
        panel.plot(self.table[skips], self.table[hits], "o-", color="#0072B2", label=label)
        for weight, x, y in self.table[["weight", skips, hits]].itertuples(index=False):
            panel.annotate(
                f"{weight:g}", (x, y), (5, 5), textcoords="offset points", color="#0072B2"
            )
        for marker, (name, metrics) in zip(itertools.cycle("s^DvPX"), (beside or {}).items()):
            panel.plot([metrics[skips]], [metrics[hits]], marker, ms=9, color="#444444", label=name)
        panel.set_xlabel(f"skipped next, among the first {self.k} (less is better)")
        panel.set_ylabel(f"kept next, among the first {self.k}\n(more is better)")
        panel.grid(alpha=0.25)
        panel.legend(frameon=False)
        return figure


def trade_off(
    model,
    examples: Examples,
    *,
    term: str | None = None,
    weights: Sequence[float] = _WEIGHTS,
    k: int = 10,
    exclude_seen: bool | None = None,
) -> TradeOff:
    """Evaluates one model at several weights of a feedback term in its ranking.

    Args:
        model: a model of this package with a feedback term that ranks, such as `"keep"`. Its own
            weights stay as they are.
        examples: `Examples`, those of validation where a weight is to be chosen.
        term: str or None. The name of the term; None where the model has one that ranks.
        weights: floats of at least 0.
        k: int. The cut-off K of hits and skips.
        exclude_seen: as in `evaluate`.

    Returns:
        `TradeOff`.

    Raises:
        ValueError: no such term, or None where several rank; a weight below 0.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]], [[1, -1, 1]])
    >>> examples = keras_negrec.data.Examples.after(sessions, np.array([1]))
    >>> model = keras_negrec.build_model("sasrec", num_items=3, negative_loss="keep")
    >>> curve = keras_negrec.evaluation.trade_off(model, examples, weights=[0, 1], k=2)
    >>> list(curve.table.columns)
    ['weight', 'hr@2', 'skip_hr@2']
    """
    check_positive_int("k", k)
    known = list(model.ranking_weights)
    if term is None and len(known) == 1:
        term = known[0]
    if term is None or term not in known:
        raise ValueError(
            f"`term` must be one of the feedback terms that rank, {known}. Received: term={term!r}"
        )
    names = [f"hr@{k}", f"skip_hr@{k}"]
    rows = []
    for weight in sorted(weights):
        weighted = _AtWeights(model, {term: weight})
        metrics = evaluate(weighted, examples, k=[k], exclude_seen=exclude_seen)
        rows.append([float(weight), *(metrics[name] for name in names)])
    return TradeOff(term, k, pd.DataFrame(rows, columns=["weight", *names]))


def choose_weights(
    model,
    validation: Examples,
    baseline: Mapping[str, float],
    *,
    at: str = "equal hits",
    **options,
) -> dict[str, float]:
    """The weight with the fewest skips at a baseline's hits, or the most hits at its skips.

    Args:
        model, **options: as in `trade_off`.
        validation: `Examples` that are not those of the test.
        baseline: metrics of the model to compare with on the same examples, from `evaluate`.
        at: `"equal hits"` or `"equal skips"`.

    Returns:
        dict from the name of the term to its weight, for `set_ranking_weights` or `recommend`.

    Raises:
        ValueError: no weight gets there; as in `trade_off`.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]], [[1, -1, 1]])
    >>> examples = keras_negrec.data.Examples.after(sessions, np.array([1]))
    >>> model = keras_negrec.build_model("sasrec", num_items=3, negative_loss="keep")
    >>> baseline = keras_negrec.evaluate(model, examples)
    >>> list(keras_negrec.evaluation.choose_weights(model, examples, baseline))
    ['keep']
    """
    check_choice("at", at, tuple(_ENDS))
    curve = trade_off(model, validation, **options)
    given = f"{_ENDS[at][0]}@{curve.k}"
    found = curve.at(at, baseline[given])
    if math.isnan(found["weight"]):
        reached = curve.table[given]
        raise ValueError(
            f"No weight of `{curve.term}` gives the baseline's {given}, {baseline[given]:.4f}. "
            f"Received weights that give {reached.min():.4f} to {reached.max():.4f}"
        )
    return {curve.term: found["weight"]}


class _AtWeights:
    """A model with other weights in its ranking."""

    def __init__(self, model, ranking_weights: dict[str, float]):
        self._model, self._weights = model, ranking_weights
        self.num_items = model.num_items

    def history_vectors(self, histories) -> np.ndarray:
        return self._model.history_vectors(histories, ranking_weights=self._weights)

    def item_vectors(self, rows):
        return self._model.item_vectors(rows)
