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
from keras_negrec.evaluation.evaluate import check_examples
from keras_negrec.evaluation.rank_targets import rank_targets
from keras_negrec.evaluation.significance import resamples

_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
_ENDS = {"equal hits": ("hr", "skip_hr"), "equal skips": ("skip_hr", "hr")}


class TradeOff:
    """Points between most hits and fewest skips, in the order of the weight that was changed.

    Attributes:
        term: str. The feedback term whose weight in the ranking was changed.
        k: int. The cut-off.
        weights: float array of shape `(num_weights,)`, rising.
        hits, skips: float arrays of shape `(num_examples, num_weights)`: whether the next kept, and
            the next skipped item is among the first `k`, NaN where there is none. Of several
            models, the mean.
    """

    def __init__(self, term: str, k: int, weights, hits: np.ndarray, skips: np.ndarray):
        self.term, self.k, self.weights = term, k, np.asarray(weights, "float64")
        self.hits, self.skips = hits, skips

    @property
    def table(self) -> pd.DataFrame:
        """One row a weight, with the columns `weight`, `hr@k` and `skip_hr@k`."""
        means = [np.nanmean(values, axis=0) for values in (self.hits, self.skips)]
        names = ["weight", f"hr@{self.k}", f"skip_hr@{self.k}"]
        return pd.DataFrame(np.column_stack([self.weights, *means]), columns=names)

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
        given, sought = (self.table[f"{name}@{self.k}"].to_numpy() for name in _ENDS[which])
        [weight], [best] = _best_point(which, self.weights, given[None], sought[None], [value])
        found = dict(
            zip(_ENDS[which], (value if best == best else math.nan, float(best)), strict=True)
        )
        return {"weight": float(weight)} | {
            f"{name}@{self.k}": found[name] for name in ("hr", "skip_hr")
        }

    def against(
        self,
        baseline: TradeOff,
        at: str = "equal hits",
        *,
        num_resamples: int = 2000,
        seed: int = 0,
    ) -> dict[str, float]:
        """How many fewer skips there are at a baseline's hits, or more hits at its skips.

        Args:
            baseline: the `TradeOff` of another model on the same examples, with one weight: what
                `trade_off(model, examples, weights=[])` gives of a model as it is.
            at: `"equal hits"` or `"equal skips"`.
            num_resamples, seed: ints, of the bootstrap over the examples.

        Returns:
            dict of floats: `weight`; `baseline` and `value`, its skips (or hits) and those on the
            curve; `change`, from the first to the second, as a share of the first; `low` and
            `high`, the 95 % interval of the change. All are NaN where the curve does not get there,
            and the interval where it does not in some of the resamples.

        Raises:
            ValueError: a baseline of several weights, other examples or another `k`.

        Reference:
            [Efron & Tibshirani, 1993](https://doi.org/10.1201/9780429246593), the percentile
            interval.
        """
        check_choice("at", at, tuple(_ENDS))
        if baseline.k != self.k or baseline.hits.shape != (len(self.hits), 1):
            raise ValueError(
                f"`baseline` must have k={self.k}, {len(self.hits)} examples and one weight. "
                f"Received: k={baseline.k}, examples and weights {baseline.hits.shape}"
            )
        values = np.hstack([self.hits, self.skips, baseline.hits, baseline.skips])
        known = ~np.isnan(values)
        values = np.where(known, values, 0.0)
        means = [values.sum(axis=0, keepdims=True) / known.sum(axis=0)]
        for counts in resamples(len(values), num_resamples, seed):
            means.append(counts @ values / (counts @ known))
        hits, skips, others, other_skips = np.split(
            np.concatenate(means), np.cumsum([len(self.weights), len(self.weights), 1]), axis=1
        )
        ends = ((hits, others), (skips, other_skips))
        (given, reached), (sought, before) = ends if at == "equal hits" else ends[::-1]
        weights, found = _best_point(at, self.weights, given, sought, reached[:, 0])
        before = np.where(before[:, 0] > 0, before[:, 0], np.nan)
        change = found / before - 1
        low, high = np.quantile(change[1:], (0.025, 0.975))
        found = {"weight": weights[0], "baseline": before[0], "value": found[0]}
        return {
            name: float(value)
            for name, value in {**found, "change": change[0], "low": low, "high": high}.items()
        }

    def figure(self, beside: Mapping[str, Mapping] | None = None) -> Any:
        """A `matplotlib` figure of the curve; up and to the left is better.

        Args:
            beside: metrics of other models by label, as `evaluate` gives them.
        """
        try:
            from matplotlib.figure import Figure
            from matplotlib.ticker import PercentFormatter
        except ImportError as error:
            raise ImportError(
                "The figure needs matplotlib: pip install 'keras-negrec[plot]'"
            ) from error
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        panel = figure.subplots()
        hits, skips = f"hr@{self.k}", f"skip_hr@{self.k}"
        label = f'one model, the weight of "{self.term}" from least to most'
        table = self.table
        panel.plot(table[skips], table[hits], "o-", color="#0072B2", label=label)
        for weight, x, y in table[["weight", skips, hits]].itertuples(index=False):
            panel.annotate(
                f"{weight:g}",
                (x, y),
                (-4, 6),
                textcoords="offset points",
                ha="right",
                color="#0072B2",
            )
        for marker, (name, metrics) in zip(itertools.cycle("s^DvPX"), (beside or {}).items()):
            panel.plot([metrics[skips]], [metrics[hits]], marker, ms=9, color="#444444", label=name)
        panel.set_xlabel(f"skipped next, among the first {self.k} (less is better)")
        panel.set_ylabel(f"kept next, among the first {self.k}\n(more is better)")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
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
    """Ranks by one model with several weights of a feedback term in its ranking.

    Args:
        model: a model of this package with a feedback term that ranks, such as `"keep"`, or several
            of one kind, such as those of different seeds. Their own weights stay as they are.
        examples: `Examples`, those of validation where a weight is to be chosen.
        term: str or None. The name of the term; None where the model has one that ranks.
        weights: floats of at least 0. None at all takes any model as it is, for `against`.
        k: int. The cut-off K of hits and skips.
        exclude_seen: as in `evaluate`.

    Returns:
        `TradeOff`.

    Raises:
        ValueError: no such term, or None where several rank; a weight below 0; no examples.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]], [[1, -1, 1]])
    >>> examples = keras_negrec.data.Examples.after(sessions, np.array([1]))
    >>> model = keras_negrec.build_model("sasrec", num_items=3, negative_loss="keep")
    >>> curve = keras_negrec.evaluation.trade_off(model, examples, weights=[0, 1], k=2)
    >>> list(curve.table.columns)
    ['weight', 'hr@2', 'skip_hr@2']
    >>> plain = keras_negrec.build_model("sasrec", num_items=3)
    >>> as_it_is = keras_negrec.evaluation.trade_off(plain, examples, weights=[], k=2)
    >>> list(curve.against(as_it_is))
    ['weight', 'baseline', 'value', 'change', 'low', 'high']
    """
    check_positive_int("k", k)
    check_examples(examples)
    models = list(model) if isinstance(model, Sequence) else [model]
    if len(weights):
        known = list(models[0].ranking_weights)
        if term is None and len(known) == 1:
            term = known[0]
        if term is None or term not in known:
            raise ValueError(
                f"`term` must be one of the feedback terms that rank, {known}. Received: "
                f"term={term!r}"
            )
    term, weights = term or "", sorted(weights)

    def found(scorer: Any) -> np.ndarray:
        ranks = rank_targets(scorer, examples, exclude_seen=exclude_seen)
        both = np.stack([ranks["target"], ranks["skip_target"]])
        return np.where(np.isnan(both), np.nan, both <= k)

    by_weight = [
        np.mean([found(_AtWeights(one, {term: weight})) for one in models], axis=0)
        for weight in weights
    ] or [np.mean([found(one) for one in models], axis=0)]
    hits, skips = np.stack(by_weight, axis=-1)
    return TradeOff(term, k, weights or [math.nan], hits, skips)


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
        at: `"equal hits"`, `"equal skips"`, or `"both"`: half way between the two, where there are
            more hits and fewer skips than the baseline's.

    Returns:
        dict from the name of the term to its weight, for `set_ranking_weights` or `recommend`.
        Where no weight gets there it is the one that comes nearest.

    Raises:
        ValueError: a baseline without hits or skips; as in `trade_off`.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]], [[1, -1, 1]])
    >>> examples = keras_negrec.data.Examples.after(sessions, np.array([1]))
    >>> model = keras_negrec.build_model("sasrec", num_items=3, negative_loss="keep")
    >>> baseline = keras_negrec.evaluate(model, examples)
    >>> list(keras_negrec.evaluation.choose_weights(model, examples, baseline))
    ['keep']
    """
    check_choice("at", at, (*_ENDS, "both"))
    curve = trade_off(model, validation, **options)

    def weight_at(which: str) -> float:
        given = f"{_ENDS[which][0]}@{curve.k}"
        if math.isnan(baseline[given]):
            raise ValueError(f"`baseline` must have a {given} that is known. Received: nan")
        reached = curve.table[given]
        return curve.at(which, min(max(baseline[given], reached.min()), reached.max()))["weight"]

    ends = [at] if at != "both" else list(_ENDS)
    return {curve.term: sum(map(weight_at, ends)) / len(ends)}


def _best_point(which: str, weights: np.ndarray, given: np.ndarray, sought: np.ndarray, values):
    """The best points of many curves `(n, num_weights)` where `given` is as `values` `(n,)` say.

    Returns the weights and what is sought, both `(n,)`, NaN where a curve does not get there.
    """
    steps = np.diff(given, append=given[:, -1:])  # the last point is a line to itself
    values = np.asarray(values)[:, np.newaxis]
    is_between = np.minimum(given, given + steps) <= values
    is_between &= values <= np.maximum(given, given + steps)
    way = np.where(is_between, values - given, np.nan) / np.where(steps == 0, 1.0, steps)
    points = sought + way * np.diff(sought, append=sought[:, -1:])
    order = np.where(np.isnan(points), np.inf, points if which == "equal hits" else -points)
    best = order.argmin(axis=1, keepdims=True)
    at_weights = weights + way * np.diff(weights, append=weights[-1:])
    return tuple(np.take_along_axis(found, best, axis=1)[:, 0] for found in (at_weights, points))


class _AtWeights:
    """A model with other weights in its ranking."""

    def __init__(self, model, ranking_weights: dict[str, float]):
        self._model, self._weights = model, ranking_weights
        self.num_items = model.num_items

    def history_vectors(self, histories) -> np.ndarray:
        return self._model.history_vectors(histories, ranking_weights=self._weights)

    def item_vectors(self, rows):
        return self._model.item_vectors(rows)
