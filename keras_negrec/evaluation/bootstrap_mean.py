"""How sure a mean over examples is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_positive_int

_DRAWS_AT_ONCE = 2**22  # some 100 MB
_ROUNDING = 1e-12


class BootstrapMean(NamedTuple):
    """What `bootstrap_mean` returns; arrays with one value a column, or floats for one column.

    Args:
        mean: the mean over the examples.
        low, high: the interval around it.
        p: two-sided p value of the hypothesis that the mean is 0; never 0 itself.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def bootstrap_mean(
    values, *, num_resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> BootstrapMean:
    """Bootstraps means over examples: how they would vary with other examples of the kind.

    The examples are drawn anew with replacement `num_resamples` times, the same draws for all
    columns. For two models, give the differences of their per-example values: the test is then a
    paired one. The interval is the percentile interval, and `p` agrees with it: twice the smaller
    share of resamples on either side of 0, those at 0 on both, each count plus 1.

    The resampled means are products of how often each example was drawn with the values. On 6,000
    examples with 20 columns that takes 1.6 s, and `scipy.stats.bootstrap`, which gathers the values
    of each resample, 3.8 s for the same intervals.

    Args:
        values: float array of shape `(num_examples,)` or `(num_examples, num_columns)`.
        num_resamples: int. Draws; `p` is never below `2 / (num_resamples + 1)`.
        confidence: float between 0 and 1, of the interval.
        seed: int. The same seed gives the same draws.

    Returns:
        `BootstrapMean(mean, low, high, p)`, NaN where there is no example.

    Raises:
        ValueError: values that are NaN or infinite, or of more than two dimensions; a
            `confidence` outside of 0 to 1.

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
        raise ValueError(
            f"`confidence` must lie between 0 and 1. Received: confidence={confidence!r}"
        )
    values = np.asarray(values, "float64")
    if values.ndim not in (1, 2):
        raise ValueError(
            f"`values` must have one or two dimensions. Received: shape {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"`values` must be finite. Received: {values[~np.isfinite(values)][0]} among them"
        )
    if len(values) == 0:
        return BootstrapMean(*[np.full(values.shape[1:], np.nan)[()]] * 4)
    means = _resampled_means(values.reshape(len(values), -1), num_resamples, seed)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    below = np.count_nonzero(means <= _ROUNDING, axis=0)
    above = np.count_nonzero(means >= -_ROUNDING, axis=0)
    p = np.minimum(1, 2 * (1 + np.minimum(below, above)) / (1 + num_resamples))
    shape = values.shape[1:]
    return BootstrapMean(
        values.mean(axis=0), low.reshape(shape)[()], high.reshape(shape)[()], p.reshape(shape)[()]
    )


def bootstrap_columns(values: pd.DataFrame, num_resamples: int, seed: int = 0) -> pd.DataFrame:
    """One row a column of `values`; columns that are NaN for the same examples go together."""
    there = values.notna()
    patterns: dict[bytes, list] = {}
    for column in values:
        patterns.setdefault(there[column].to_numpy().tobytes(), []).append(column)
    parts = []
    for columns in patterns.values():
        part = values.loc[there[columns[0]], columns]
        found = bootstrap_mean(part.to_numpy(), num_resamples=num_resamples, seed=seed)
        parts.append(pd.DataFrame(found._asdict(), index=part.columns))
    return pd.concat(parts).loc[values.columns]


def _resampled_means(values: np.ndarray, num_resamples: int, seed: int) -> np.ndarray:
    """float64 array of shape `(num_resamples, num_columns)`."""
    random = np.random.default_rng(seed)
    num_examples = len(values)
    at_once = max(1, _DRAWS_AT_ONCE // num_examples)
    means = []
    for start in range(0, num_resamples, at_once):
        rows = min(at_once, num_resamples - start)
        drawn = random.integers(num_examples, size=(rows, num_examples))
        drawn += num_examples * np.arange(rows)[:, np.newaxis]
        counts = np.bincount(drawn.ravel(), minlength=rows * num_examples)
        means.append(counts.reshape(rows, num_examples).astype("float64") @ values / num_examples)
    return np.concatenate(means)
