"""Exact ranks on the full catalogue."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from keras import ops

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.backend.memory import read_array
from keras_negrec.data import Examples
from keras_negrec.evaluation.rank_count import RankCount
from keras_negrec.evaluation.score_chunks import score_chunks
from keras_negrec.evaluation.scorer import Scorer, VectorScorer

# Scores that are made at once by products of vectors: 6 MiB. All products have this one shape, a
# multiple of the tiles of common libraries: the edges of other shapes are summed in another order,
# so that scores of equal vectors may differ there in the last bit.
_COLUMNS, _ROWS = 6144, 256


def rank_targets(
    model: Scorer | VectorScorer,
    examples: Examples,
    *,
    exclude_seen: bool | None = None,
    batch_size: int = 1024,
    top_k: int | None = None,
) -> dict[str, np.ndarray]:
    """Ranks each example's targets among all items of the catalogue, without sorting it.

    A rank is 1 plus the number of items with a higher score, plus half the number of other
    items with the same score. Padding and mask token are no items and never compete.

    A `VectorScorer`, such as the trained models of this package, is ranked by products of its
    vectors, some thousand items at a time: memory does not grow with the catalogue, and time is
    not much more than that of the products. Others give all their scores at once.

    Args:
        model: a model of this package, or any `Scorer` or `VectorScorer`.
        examples: `Examples`.
        exclude_seen: bool or None. Whether items of the history are taken out of the ranking,
            besides the `excluded_items` of the examples; None: as the examples say. A target
            that is itself among them can never be recommended: its rank is infinite.
        batch_size: int. The most histories that `score` scores at once, fewer where the
            catalogue is large. Products of vectors have blocks of their own.
        top_k: int or None. How many of the first items of each ranking are returned too.

    Returns:
        Dict of float64 arrays of shape `(num_examples,)`: `target` and `skip_target`, ranks from
        1, NaN where there is none; `preference`, 1 where the target scores above the skip target,
        0 where below, 0.5 where equal, NaN where one of them is missing. With
        `top_k` also `top_items`, int32 array of shape `(num_examples, min(top_k, num_items))`:
        the first items, best first, equal scores by item id, 0 where no item remains. An item
        whose score is minus infinity is not among them.

    Raises:
        ValueError: scores of another shape than `(num_rows, num_items)`, or that are NaN;
            vectors that are not finite; a `batch_size` or `top_k` that is not a positive integer.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]], [[1, -1, 1]])
    >>> examples = keras_negrec.data.Examples.after(sessions, np.array([1]))
    >>> model = keras_negrec.models.Popularity(sessions, num_items=3)
    >>> ranks = keras_negrec.evaluation.rank_targets(model, examples, top_k=2)
    >>> ranks["target"], ranks["top_items"]
    (array([1.]), array([[3, 2]], dtype=int32))
    """
    check_positive_int("batch_size", batch_size)
    if top_k is not None:
        top_k = min(check_positive_int("top_k", top_k), model.num_items)
    # Those with a skip target come first: blocks without any are compared half as often.
    order = np.argsort(examples.skip_targets <= 0, kind="stable")
    examples = examples.take(order)
    ranks = _ranks(model, examples, batch_size, {"exclude_seen": exclude_seen, "top_k": top_k})
    place = np.argsort(order)
    return {name: values[place] for name, values in ranks.items()}


def _ranks(model, examples: Examples, batch_size: int, options: dict) -> dict[str, np.ndarray]:
    count = RankCount(examples, **options)
    if not isinstance(model, VectorScorer):
        columns = np.arange(model.num_items)
        for indices, scores in score_chunks(model, examples.histories, batch_size):
            rows = slice(indices[0], indices[-1] + 1)
            count.read_own(rows, scores)
            count.add(rows, columns, scores)
        return count.ranks()

    vectors = model.history_vectors(examples.histories)
    if not np.isfinite(vectors).all():
        raise ValueError("The vectors of the histories must be finite, and some are not.")
    blocks = [slice(i, min(i + _ROWS, len(vectors))) for i in range(0, len(vectors), _ROWS)]
    block_vectors = [
        ops.convert_to_tensor(np.resize(vectors[rows], (_ROWS, vectors.shape[1])))
        for rows in blocks
    ]

    def item_vectors(columns):
        table = model.item_vectors(np.resize(columns, _COLUMNS).astype("int32"))
        table = ops.cast(ops.stop_gradient(table), "float32")
        if not ops.all(ops.isfinite(table)):
            raise ValueError("The vectors of the items must be finite, and some are not.")
        return ops.transpose(table)

    def products(block, table):
        num_rows = blocks[block].stop - blocks[block].start
        return read_array(ops.matmul(block_vectors[block], table))[:num_rows]

    for own in (count.target, count.skip_target):
        for block, rows in enumerate(blocks):
            each = np.arange(rows.stop - rows.start)
            table = item_vectors(np.maximum(own.columns[rows], 0))
            own.scores[rows] = products(block, table)[each, each]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, model.num_items, _COLUMNS):
            columns = np.arange(start, min(start + _COLUMNS, model.num_items))
            table = item_vectors(columns)

            def add(block, columns=columns, table=table):
                count.add(blocks[block], columns, products(block, table)[:, : len(columns)])

            list(pool.map(add, range(len(blocks))))
    return count.ranks()
