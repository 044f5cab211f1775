"""Exact ranks on the full catalogue."""

from __future__ import annotations

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Examples
from keras_negrec.evaluation.rank_chunk import rank_chunk
from keras_negrec.evaluation.score_chunks import score_chunks
from keras_negrec.evaluation.scorer import Scorer
from keras_negrec.evaluation.top_columns import top_columns


def rank_targets(
    model: Scorer,
    examples: Examples,
    *,
    exclude_seen: bool = True,
    batch_size: int = 1024,
    top_k: int | None = None,
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
        top_k: int or None. How many of the first items of each ranking are returned too.

    Returns:
        Dict of float64 arrays of shape `(num_examples,)`: `target` and `skip_target`, ranks from
        1, NaN where there is no skip target; `preference`, 1 where the target scores above the
        skip target, 0 where below, 0.5 where equal, NaN where there is no skip target. With
        `top_k` also `top_items`, int32 array of shape `(num_examples, min(top_k, num_items))`:
        the first items, best first, equal scores by item id, 0 where no item remains. An item
        whose score is minus infinity is not among them.

    Raises:
        ValueError: scores of another shape than `(num_rows, num_items)`, or that are NaN; a
            `batch_size` or `top_k` that is not a positive integer.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]], [[1, -1, 1]])
    >>> examples = keras_negrec.data.Examples.after(sessions, np.array([1]))
    >>> model = keras_negrec.models.Popularity(sessions, num_items=3)
    >>> ranks = keras_negrec.evaluation.rank_targets(model, examples, top_k=2)
    >>> ranks["target"], ranks["top_items"]
    (array([1.]), array([[3, 2]], dtype=int32))
    """
    ranks = {
        name: np.full(len(examples), np.nan) for name in ("target", "skip_target", "preference")
    }
    if top_k is not None:
        top_k = min(check_positive_int("top_k", top_k), model.num_items)
        ranks["top_items"] = np.zeros((len(examples), top_k), "int32")
    for rows, scores in score_chunks(model, examples.histories, batch_size):
        chunk = examples.take(rows)
        for name, values in rank_chunk(scores, chunk, exclude_seen=exclude_seen).items():
            ranks[name][rows] = values
        if top_k is not None:
            if exclude_seen:
                scores[chunk.histories.rows(), chunk.histories.item_ids - 1] = -np.inf
            for row, row_scores in zip(rows, scores, strict=True):
                best = top_columns(row_scores, top_k)
                ranks["top_items"][row, : len(best)] = best + 1
    return ranks
