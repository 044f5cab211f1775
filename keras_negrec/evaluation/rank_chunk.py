"""Ranks by counting, for as many examples as fit into memory."""

from __future__ import annotations

import numpy as np

from keras_negrec.data import Examples


def rank_chunk(
    scores: np.ndarray,
    examples: Examples,
    *,
    exclude_seen: bool,
    candidates: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Ranks the targets and skip targets of a few examples.

    Args:
        scores: float array of shape `(num_examples, num_items)`.
        examples: `Examples`.
        exclude_seen: bool. Whether items of the history do not compete.
        candidates: optional int array of the item ids that compete. The skip target of an
            example competes in its own ranking even if it is not among them. Default: all items.

    Returns:
        `target`, `skip_target` and `preference`, as from `rank_targets`.
    """
    available = np.ones(scores.shape, bool)
    if exclude_seen:
        available[examples.histories.rows(), examples.histories.item_ids - 1] = False
    competes = available
    if candidates is not None:
        competes = np.zeros(scores.shape, bool)
        competes[:, candidates - 1] = available[:, candidates - 1]

    with_skip = np.flatnonzero(examples.skip_targets > 0)
    targets, skips = examples.targets - 1, examples.skip_targets[with_skip] - 1  # columns
    skip_competes = competes[with_skip]
    skip_competes[np.arange(len(with_skip)), skips] = available[with_skip, skips]

    of_target, of_skip = scores[with_skip, targets[with_skip]], scores[with_skip, skips]
    skip_target = np.full(len(examples), np.nan)
    skip_target[with_skip] = _count_ranks(scores[with_skip], skip_competes, skips)
    preference = np.full(len(examples), np.nan)
    preference[with_skip] = (of_target > of_skip) + (of_target == of_skip) / 2
    return {
        "target": _count_ranks(scores, competes, targets),
        "skip_target": skip_target,
        "preference": preference,
    }


def _count_ranks(scores: np.ndarray, competes: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The rank of one column of each row, infinite where that column does not compete."""
    each = np.arange(len(scores))
    own = scores[each, columns][:, np.newaxis]
    above = np.count_nonzero((scores > own) & competes, axis=1)
    equal = np.count_nonzero((scores == own) & competes, axis=1) - 1
    return np.where(competes[each, columns], 1 + above + equal / 2, np.inf)
