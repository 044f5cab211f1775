"""How sure means over examples are, and many of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_positive_int

_COUNTS_AT_ONCE = 2**22  # 32 MiB


class BootstrapMean(NamedTuple):
    """A mean, its interval and the two-sided p value of the hypothesis that it is 0.

    Arrays with one value a column, or floats for one column. See `bootstrap_mean`.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def bootstrap_mean(
    values, *, num_resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> BootstrapMean:
    """Bootstraps means over examples: how they would vary with other examples of the kind.

    The draws are the same for all columns. For two models, give the differences of their
    per-example values: the test is then a paired one. The interval is the percentile interval, and
    `p` agrees with it: twice the smaller share of resamples on either side of 0, those at 0 on
    both, each count plus 1.

    Args:
        values: float array of shape `(num_examples,)` or `(num_examples, num_columns)`.
        num_resamples: int. Draws; `p` is never below `2 / (num_resamples + 1)`.
        confidence: float between 0 and 1, of the interval.
        seed: int.

    Returns:
        `BootstrapMean`, NaN where there is no example.

    Raises:
        ValueError: values that are not finite or have other shapes; a `confidence` outside 0 to 1.

    Example:

    >>> difference = np.array([1.0, 0, 0, 1, 0, 1, 0, 0, -1, 1])  # hits of one model - of another
    >>> mean, low, high, p = keras_negrec.evaluation.bootstrap_mean(difference)
    >>> print(f"{mean:.1f}, 95% interval {low:.1f} to {high:.1f}")
    0.3, 95% interval -0.1 to 0.7

    Reference:
        [Efron & Tibshirani, 1993](https://doi.org/10.1201/9780429246593)
    """
    check_positive_int("num_resamples", num_resamples)
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must lie between 0 and 1. Received: {confidence=}")
    values = np.asarray(values, "float64")
    if values.ndim not in (1, 2):
        raise ValueError(f"`values` must have one or two dimensions. Received: {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"`values` must be finite. Received: {values[~np.isfinite(values)][0]}")
    if len(values) == 0:
        return BootstrapMean(*[np.full(values.shape[1:], np.nan)[()]] * 4)
    means = [counts @ values for counts in resamples(len(values), num_resamples, seed)]
    return _summary(values.mean(axis=0), np.concatenate(means) / len(values), confidence)


def resamples(num_examples: int, num_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each example is drawn in each resample: float64 `(n, num_examples)`, n at a time.

    Products with such counts take a sixth of the time of indexing the values by what is drawn.
    """
    random, size = np.random.default_rng(seed), max(1, _COUNTS_AT_ONCE // num_examples)
    for start in range(0, num_resamples, size):
        drawn = random.integers(num_examples, size=(min(size, num_resamples - start), num_examples))
        yield np.stack([np.bincount(row, minlength=num_examples) for row in drawn]).astype(float)


def _summary(mean, resampled: np.ndarray, confidence: float = 0.95) -> BootstrapMean:
    """Interval and p value from resamples, the first axis; NaN where one of these is NaN."""
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    below, above = (np.count_nonzero(sign * resampled <= 1e-12, axis=0) for sign in (1, -1))
    p = np.minimum(1, 2 * (1 + np.minimum(below, above)) / (1 + len(resampled)))
    return BootstrapMean(mean, low, high, np.where(np.isnan(low), np.nan, p)[()])


def bootstrap_columns(
    known: pd.DataFrame,
    ours: Sequence[pd.DataFrame],
    theirs: Sequence[pd.DataFrame] | None = None,
    *,
    num_resamples: int,
    seed: int = 0,
) -> pd.DataFrame:
    """Means over examples and runs, less those of `theirs` if given: one row a column.

    Columns with a value for each example whose targets are known are compared example by
    example. Of the others examples are drawn too, and both means are taken anew from the values
    that are there: where models find something for different examples, the mean of the kept
    share's paired differences would not be the difference of its means.

    Args:
        known: DataFrame of bool, one row an example: whether the targets of a column are known.
        ours, theirs: lists with a DataFrame for each run, of the shape of `known`.
    """
    sides = [np.stack([run.to_numpy("float64") for run in side]) for side in (ours, theirs) if side]
    there = np.stack([(~np.isnan(side)).mean(axis=0) for side in sides])
    values = np.stack([np.where(np.isnan(side), 0, side).mean(axis=0) for side in sides])
    is_whole = (there == known.to_numpy()).all(axis=(0, 1))
    groups, of_column = np.unique(np.vstack([known, is_whole]), axis=1, return_inverse=True)
    parts = []
    for i, (*rows, whole) in enumerate(groups.T):
        columns = of_column.ravel() == i
        part, number = (each[:, rows][..., columns] for each in (values, there))
        if whole:
            part = np.subtract.reduce(part)
            found = bootstrap_mean(part, num_resamples=num_resamples, seed=seed)
        else:
            found = _bootstrap_ratios(part, number, num_resamples, seed)
        parts.append(pd.DataFrame(found._asdict(), index=known.columns[columns]))
    return pd.concat(parts).loc[known.columns]


def _bootstrap_ratios(
    values: np.ndarray, there: np.ndarray, num_resamples: int, seed: int
) -> BootstrapMean:
    """Of ratios of sums; both arrays have the shape `(1 or 2 sides, examples, columns)`."""

    def ratios(counts):
        with np.errstate(invalid="ignore"):  # 0 / 0 where no value was drawn
            return np.subtract.reduce(counts @ values / (counts @ there))

    number = values.shape[1]
    resampled = [ratios(counts) for counts in resamples(number, num_resamples, seed)]
    return _summary(ratios(np.ones((1, number)))[0], np.concatenate(resampled))


def holm_correction(p_values) -> np.ndarray:
    """Adjusts p values so that the chance of one false alarm among all of them stays in hand.

    An adjusted value below 0.05 may be called significant at 5 %, however many comparisons were
    made and however they depend on each other.

    Args:
        p_values: floats from 0 to 1. NaN, a test that was not made, stays NaN and does not count.

    Example:

    >>> keras_negrec.evaluation.holm_correction([0.25, 0.01, np.nan, 0.02])
    array([0.25, 0.03,  nan, 0.04])

    Reference:
        [Holm, 1979](https://www.jstor.org/stable/4615733)
    """
    p = np.array(p_values, "float64")
    outside = p[(p < 0) | (p > 1)]
    if len(outside):
        raise ValueError(f"`p_values` must lie between 0 and 1. Received: {outside[0]}")
    order = np.argsort(p, axis=None)[: np.count_nonzero(~np.isnan(p))]  # NaN is last
    steps = p.flat[order] * np.arange(len(order), 0, -1)
    p.flat[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return p
