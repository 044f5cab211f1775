"""Exact ranks on the full catalogue."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Examples, Sessions

_SCORES_AT_ONCE = 2**25  # 128 MB of float32


class Scorer(Protocol):
    """Anything that scores the whole catalogue after a history."""

    num_items: int

    def score(self, histories: Sessions) -> np.ndarray:
        """float array of shape `(num_rows, num_items)`, column `j` for item `j + 1`."""


def rank_targets(
    model: Scorer,
    examples: Examples,
    *,
    exclude_seen: bool = True,
    batch_size: int = 1024,
) -> dict[str, np.ndarray]:
    """Ranks each example's targets among all items of the catalogue, without sorting it.

    A rank is 1 plus the number of items with a higher score, plus half the number of other
    items with the same score. Padding and mask token are no items and never compete.

    Args:
        model: a model of this package, or any object with `num_items` and `score`.
        examples: `Examples`.
        exclude_seen: bool. Whether items of the history are taken out of the ranking. A target
            that is itself among them can then never be recommended: its rank is infinite.
        batch_size: int. The most histories that are scored at once; fewer where the catalogue
            is large.

    Returns:
        Dict of float64 arrays of shape `(num_examples,)`: `target` and `skip_target`, ranks from
        1, NaN where there is no skip target; `preference`, 1 where the target scores above the
        skip target, 0 where below, 0.5 where equal, NaN where there is no skip target.

    Raises:
        ValueError: scores of another shape than `(num_rows, num_items)`, or that are NaN.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]], [[1, -1, 1]])
    >>> examples = keras_negrec.data.Examples.after(sessions, np.array([1]))
    >>> model = keras_negrec.models.Popularity(sessions, num_items=3)
    >>> keras_negrec.evaluation.rank_targets(model, examples)["target"]
    array([1.])
    """
    check_positive_int("batch_size", batch_size)
    batch_size = max(1, min(batch_size, _SCORES_AT_ONCE // model.num_items))
    ranks = {
        name: np.full(len(examples), np.nan) for name in ("target", "skip_target", "preference")
    }
    for start in range(0, len(examples), batch_size):
        rows = np.arange(start, min(start + batch_size, len(examples)))
        chunk = examples.take(rows)
        scores = np.array(model.score(chunk.histories), dtype="float32")
        if scores.shape != (len(rows), model.num_items):
            raise ValueError(
                f"`score` must return shape {(len(rows), model.num_items)}. Received: "
                f"{scores.shape}"
            )
        if np.isnan(scores).any():
            raise ValueError(
                "Scores must not be NaN. Received NaN for the history "
                f"{chunk.histories.keys[np.isnan(scores).any(axis=1).argmax()]!r}."
            )
        each = np.arange(len(rows))
        with_skip = np.flatnonzero(chunk.skip_targets > 0)
        of_target = scores[each, chunk.targets - 1]
        of_skip = scores[with_skip, chunk.skip_targets[with_skip] - 1]
        above, equal = of_target[with_skip] > of_skip, of_target[with_skip] == of_skip
        ranks["preference"][rows[with_skip]] = above + equal / 2

        competes = np.ones(scores.shape, bool)
        if exclude_seen:
            competes[chunk.histories.rows(), chunk.histories.item_ids - 1] = False
        ranks["target"][rows] = _rank(scores, competes, each, chunk.targets, of_target)
        ranks["skip_target"][rows[with_skip]] = _rank(
            scores[with_skip],
            competes[with_skip],
            np.arange(len(with_skip)),
            chunk.skip_targets[with_skip],
            of_skip,
        )
    return ranks


def _rank(scores, competes, each, items, of_item):
    above = np.count_nonzero((scores > of_item[:, np.newaxis]) & competes, axis=1)
    equal = np.count_nonzero((scores == of_item[:, np.newaxis]) & competes, axis=1) - 1
    return np.where(competes[each, items - 1], 1 + above + equal / 2, np.inf)
