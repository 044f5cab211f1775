"""Exact ranks on the full catalogue."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from keras import ops

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.backend.memory import read_array
from keras_negrec.data import Examples
from keras_negrec.evaluation.scorer import Scorer, VectorScorer, excludes_seen, score_chunks

# Scores that are made at once by products of vectors: 6 MiB. All products have this one shape, a
# multiple of the tiles of common libraries: the edges of other shapes are summed in another order,
# so that scores of equal vectors may differ there in the last bit.
_COLUMNS, _ROWS = 6144, 256
_ADDED = 192  # of numbers up to 1, in 8 bits


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
    vectors, some thousand items at a time: memory does not grow with the catalogue. Others give
    all their scores at once, for fewer histories where the catalogue is large.

    Args:
        model, examples, batch_size: as in `evaluate`.
        exclude_seen: bool or None. Whether items of the history are taken out of the ranking,
            besides the `excluded_items` of the examples and what the model's vocabulary has
            retired; None: as the examples say. A target that is itself among them can never be
            recommended: its rank is infinite.
        top_k: int or None. How many of the first items of each ranking are returned too.

    Returns:
        Dict of float64 arrays of shape `(num_examples,)`: `target` and `skip_target`, ranks from
        1, NaN where there is none; `preference`, 1 where the target scores above the skip target,
        0.5 where equal, 0 where below, NaN where one is missing. With `top_k` also `top_items`,
        int32 array of shape `(num_examples, min(top_k, num_items))`: the first items, best first,
        equal scores by item id, 0 where no item remains or its score is minus infinity.

    Raises:
        ValueError: scores of another shape than `(num_rows, num_items)`, or that are NaN;
            vectors that are not finite; a `batch_size` or `top_k` that is not positive.

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
    retired = retired_ids(model)
    exclude_seen = excludes_seen(model, examples, exclude_seen)
    count = RankCount(examples, exclude_seen=exclude_seen, top_k=top_k, retired=retired)
    if isinstance(model, VectorScorer):
        _count_products(count, model, examples)
    else:
        for rows, scores in score_chunks(model, examples.histories, batch_size):
            count.read_own(rows, scores)
            count.add(rows, np.arange(model.num_items), scores)
    place = np.argsort(order)
    return {name: values[place] for name, values in count.ranks().items()}


def retired_ids(model) -> np.ndarray:
    """The internal ids that the model's vocabulary has retired; none where it has no vocabulary."""
    return getattr(getattr(model, "vocabulary", None), "retired_ids", np.zeros(0, "int32"))


def _count_products(count: RankCount, model: VectorScorer, examples: Examples) -> None:
    vectors = model.history_vectors(examples.histories)
    if not np.isfinite(vectors).all():
        raise ValueError("The vectors of the histories must be finite, and some are not.")
    blocks = [slice(i, min(i + _ROWS, len(vectors))) for i in range(0, len(vectors), _ROWS)]
    shape = (_ROWS, vectors.shape[1])
    block_vectors = [ops.convert_to_tensor(np.resize(vectors[rows], shape)) for rows in blocks]

    def item_vectors(columns):
        table = model.item_vectors(np.resize(columns, _COLUMNS).astype("int32"))
        table = ops.cast(ops.stop_gradient(table), "float32")
        if not ops.all(ops.isfinite(table)):
            raise ValueError("The vectors of the items must be finite, and some are not.")
        return ops.transpose(table)

    def products(block, table):
        num_rows = blocks[block].stop - blocks[block].start
        return read_array(ops.matmul(block_vectors[block], table))[:num_rows]

    for columns, scores in zip(count.columns, count.scores, strict=True):
        for block, rows in enumerate(blocks):
            table = item_vectors(np.maximum(columns[rows], 0))
            scores[rows] = np.diagonal(products(block, table))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, model.num_items, _COLUMNS):
            columns = np.arange(start, min(start + _COLUMNS, model.num_items))
            table = item_vectors(columns)

            def add(block, columns=columns, table=table):
                count.add(blocks[block], columns, products(block, table)[:, : len(columns)])

            list(pool.map(add, range(len(blocks))))


class RankCount:
    """Counts how many items score above the targets and skip targets of some examples.

    The scores of each example come in blocks of columns, left to right. Nothing but the counts and
    the `top_k` best items so far is kept between blocks. Blocks of different rows may be added by
    different threads at once.

    Attributes:
        columns: int array of shape `(2, num_examples)`, targets and skip targets, 0 the first item
            and -1 where there is none.
        scores: their scores, filled in by `read_own` or the caller before a row's first block.
    """

    def __init__(
        self,
        examples: Examples,
        *,
        exclude_seen: bool,
        top_k: int | None = None,
        retired: np.ndarray,
    ):
        self.columns = np.stack([examples.targets, examples.skip_targets]) - 1
        self.scores = np.zeros(self.columns.shape, "float32")
        self._above, self._at_least = np.zeros((2, *self.columns.shape), "int64")
        # What does not compete, each item of each row once, by item.
        taken_out = [examples.histories if exclude_seen else None, examples.excluded_items]
        codes = [
            self._codes(items.rows(), items.item_ids - 1)
            for items in taken_out
            if items is not None
        ]
        for item in retired:
            codes.append(self._codes(np.arange(len(examples)), np.full(len(examples), item - 1)))
        self._seen = np.unique(np.concatenate([np.zeros(0, "int64"), *codes]))
        self._seen_columns, self._seen_rows = np.divmod(self._seen, max(len(examples), 1))
        self._top_columns = np.full((len(examples), top_k or 0), -1)
        self._top_scores = np.full(self._top_columns.shape, -np.inf, "float32")
        self._local = threading.local()

    def _mask(self, scores: np.ndarray) -> _Mask:
        """One for all comparisons of a thread: new memory takes longer than they do."""
        mask = getattr(self._local, "mask", None)
        if mask is None or mask.values.shape != scores.shape:
            mask = self._local.mask = _Mask(scores.shape)
        return mask

    def _codes(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """One number for each pair of row and column, in the order of the columns."""
        return columns.astype("int64") * self.columns.shape[1] + rows

    def read_own(self, rows: slice, scores: np.ndarray) -> None:
        """Takes the scores of targets and skip targets from those of all items."""
        # Where there is no target, that of the last item, which counts for nothing.
        self.scores[:, rows] = scores[np.arange(len(scores)), self.columns[:, rows]]

    def add(self, rows: slice, columns: np.ndarray, scores: np.ndarray) -> None:
        """Counts a block: all items that compete are in one block of each row.

        `columns` are items, 0 the first of the catalogue, in rising order. A target ranks among
        them also if it is not one. The scores are `(num_rows, num_columns)`, not NaN.
        """
        first, last = np.searchsorted(self._seen_columns, [columns[0], columns[-1] + 1])
        seen_rows = self._seen_rows[first:last]
        here = np.flatnonzero((seen_rows >= rows.start) & (seen_rows < rows.stop))
        place, found = _places(columns, self._seen_columns[first:last][here])
        seen = (seen_rows[here] - rows.start)[found], place[found]
        mask = self._mask(scores)
        for i, own_columns in enumerate(self.columns[:, rows]):
            has = np.flatnonzero(own_columns >= 0)
            if len(has) == 0:
                continue
            part = slice(rows.start, rows.start + has[-1] + 1)  # the others have none to count for
            # Neither the item itself nor what was seen competes.
            place, found = _places(columns, own_columns[has])
            itself = has[found], place[found]
            inside = tuple(indices[seen[0] <= has[-1]] for indices in seen)
            own, part_scores = self.scores[i, part, np.newaxis], scores[: has[-1] + 1]
            for compare, counts in ((np.greater, self._above), (np.greater_equal, self._at_least)):
                is_above = compare(part_scores, own, out=mask.values[: has[-1] + 1])
                is_above[itself] = False
                is_above[inside] = False
                counts[i, part] += mask.counts(has[-1] + 1)
        if self._top_columns.shape[1]:
            self._add_top(rows, columns, scores, seen, mask)

    def _add_top(self, rows, columns, scores, seen, mask):
        """Puts what beats the last of the best so far among them; what only equals it does not."""
        top_scores, top_columns = self._top_scores[rows], self._top_columns[rows]
        k = top_scores.shape[1]
        is_above = np.greater(scores, top_scores[:, -1:], out=mask.values)
        is_above[seen] = False
        if columns[0] == 0:  # all beat nothing: only the best `k` need to be sorted
            available = np.where(is_above, scores, -np.inf)
            available.partition(max(0, len(columns) - k), axis=1)
            is_above &= scores >= available[:, [max(0, len(columns) - k)]]
        counts = mask.counts(len(scores))
        with_any = np.flatnonzero(counts)
        if len(with_any) == 0:
            return
        counts = counts[with_any]
        place = np.flatnonzero(is_above[with_any]) % len(columns)
        row = np.repeat(np.arange(len(with_any)), counts)
        within = k + np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        all_scores = np.full((len(with_any), k + counts.max()), -np.inf, "float32")
        all_columns = np.full(all_scores.shape, -1)
        all_scores[:, :k], all_columns[:, :k] = top_scores[with_any], top_columns[with_any]
        all_scores[row, within] = scores[with_any[row], place]
        all_columns[row, within] = columns[place]
        # Equal scores keep their order, which is that of the columns.
        best = np.argsort(-all_scores, axis=1, kind="stable")[:, :k]
        top_scores[with_any] = np.take_along_axis(all_scores, best, axis=1)
        top_columns[with_any] = np.take_along_axis(all_columns, best, axis=1)

    def ranks(self) -> dict[str, np.ndarray]:
        """What was counted: the dict that `rank_targets` returns."""
        ranks = 1 + self._above + (self._at_least - self._above) / 2
        ranks[np.isin(self._codes(np.arange(ranks.shape[1]), self.columns), self._seen)] = np.inf
        ranks[self.columns < 0] = np.nan
        of_target, of_skip = self.scores
        preference = np.where(of_target == of_skip, 0.5, of_target > of_skip)
        preference[(self.columns < 0).any(axis=0)] = np.nan
        found = {"target": ranks[0], "skip_target": ranks[1], "preference": preference}
        if self._top_columns.shape[1]:
            found["top_items"] = (self._top_columns + 1).astype("int32")
        return found


class _Mask:
    """A bool array, `values`, whose rows are counted faster than by `np.count_nonzero`."""

    def __init__(self, shape: tuple[int, int]):
        num_rows, num_columns = shape
        # Eight bytes are added at a time, as one number, so often that none of them overflows.
        num_sums = -(-num_columns // (8 * _ADDED))
        self._words = np.zeros((num_rows, num_sums, _ADDED), "uint64")
        self.values = self._words.reshape(num_rows, -1).view(bool)[:, :num_columns]

    def counts(self, num_rows: int) -> np.ndarray:
        """The number of True in each of the first rows."""
        sums = self._words[:num_rows].sum(axis=2, dtype="uint64")
        return sums.view("uint8").sum(axis=1, dtype="int64")


def _places(columns: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where columns stand in a rising list, and whether they do."""
    place = np.minimum(np.searchsorted(columns, wanted), len(columns) - 1)
    return place, columns[place] == wanted
