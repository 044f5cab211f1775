"""Ranks by counting, from the scores of a part of the catalogue after the other."""

from __future__ import annotations

import numpy as np

from keras_negrec.data import Examples
from keras_negrec.evaluation.top_columns import top_columns


class RankCount:
    """Counts how many items score above the targets and skip targets of some examples.

    The scores of each example come in blocks of columns, left to right. Nothing but the counts
    and the best items so far is kept between blocks. Blocks of different rows may be added by
    different threads at once.

    Args:
        examples: `Examples`.
        target_scores, skip_scores: float32 arrays of shape `(num_examples,)`, the scores of the
            targets and, where there is one, of the skip targets. Those of some rows may be filled
            in later, before the first block of these rows.
        exclude_seen: bool. Whether items of the history do not compete.
        top_k: int or None. How many of the first items are wanted.
    """

    def __init__(
        self,
        examples: Examples,
        target_scores: np.ndarray,
        skip_scores: np.ndarray,
        *,
        exclude_seen: bool,
        top_k: int | None = None,
    ):
        self._num_examples = len(examples)
        self._target = _Count(examples.targets - 1, target_scores)
        self._skip_target = _Count(examples.skip_targets - 1, skip_scores)
        # What does not compete, each item of each row once, by item.
        seen = _codes(examples.histories.rows(), examples.histories.item_ids - 1, len(examples))
        self._seen = np.unique(seen) if exclude_seen else seen[:0]
        self._seen_columns, self._seen_rows = np.divmod(self._seen, max(len(examples), 1))
        self._top_k = top_k
        self._top_columns = np.full((len(examples), top_k or 0), -1)
        self._top_scores = np.full(self._top_columns.shape, -np.inf, "float32")

    def add(self, rows: slice, first_column: int, scores: np.ndarray) -> None:
        """Counts a block.

        Args:
            rows: which examples, with a start and a stop.
            first_column: int. The item that the first column scores, 0 the first of the catalogue.
            scores: float32 array of shape `(num_rows, num_columns)`, not NaN. Is changed.
        """
        for count in (self._target, self._skip_target):
            count.put_own(rows, first_column, scores)
        first, last = np.searchsorted(
            self._seen_columns, [first_column, first_column + scores.shape[1]]
        )
        seen = np.arange(first, last)
        seen_rows = self._seen_rows[first:last]
        seen = seen[(seen_rows >= rows.start) & (seen_rows < rows.stop)]
        scores[
            self._seen_rows[seen] - rows.start, self._seen_columns[seen] - first_column
        ] = -np.inf
        mask = np.empty(scores.shape, bool)  # one for all comparisons: to allocate it takes longer
        for count in (self._target, self._skip_target):
            count.add(rows, scores, mask)
        if self._top_k is not None:
            self._add_top(rows, first_column, scores, mask)

    def _add_top(self, rows, first_column, scores, mask):
        top_scores, top_columns_ = self._top_scores[rows], self._top_columns[rows]
        if first_column == 0:
            for row, row_scores in enumerate(scores):
                best = top_columns(row_scores, top_scores.shape[1])
                top_columns_[row, : len(best)] = best
                top_scores[row, : len(best)] = row_scores[best]
            return
        # What does not beat the last of the best so far, or only equals it, is not among them.
        np.greater(scores, top_scores[:, -1:], out=mask)
        counts = _count_true(mask)
        rows_with = np.flatnonzero(counts)
        if len(rows_with) == 0:
            return
        counts = counts[rows_with]
        found_columns = np.flatnonzero(mask[rows_with]) % scores.shape[1]
        place = np.repeat(np.arange(len(rows_with)), counts)
        within = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        k = top_scores.shape[1]
        all_scores = np.full((len(rows_with), k + counts.max()), -np.inf, "float32")
        all_columns = np.full(all_scores.shape, -1)
        all_scores[:, :k], all_columns[:, :k] = top_scores[rows_with], top_columns_[rows_with]
        all_scores[place, k + within] = scores[rows_with[place], found_columns]
        all_columns[place, k + within] = found_columns + first_column
        # Equal scores keep their order, which is that of the columns.
        best = np.argsort(-all_scores, axis=1, kind="stable")[:, :k]
        top_scores[rows_with] = np.take_along_axis(all_scores, best, axis=1)
        top_columns_[rows_with] = np.take_along_axis(all_columns, best, axis=1)

    def ranks(self) -> dict[str, np.ndarray]:
        """What was counted: the dict that `rank_targets` returns."""
        num_seen = np.bincount(self._seen_rows, minlength=self._num_examples)
        ranks = {}
        for name, count in (("target", self._target), ("skip_target", self._skip_target)):
            own = _codes(np.arange(self._num_examples), count.columns, self._num_examples)
            ranks[name] = np.where(np.isin(own, self._seen), np.inf, count.ranks(num_seen))
        of_target, of_skip = self._target.scores, self._skip_target.scores
        preference = np.where(of_target == of_skip, 0.5, of_target > of_skip)
        ranks["preference"] = np.where(self._skip_target.columns >= 0, preference, np.nan)
        if self._top_k is not None:
            ranks["top_items"] = (self._top_columns + 1).astype("int32")
        return ranks


class _Count:
    """How many items of each row score above one of them, and how many at least as high."""

    def __init__(self, columns: np.ndarray, scores: np.ndarray):
        self.columns = columns  # -1: none
        self.scores = scores
        self.above = np.zeros(len(columns), "int64")
        self.at_least = np.zeros(len(columns), "int64")

    def put_own(self, rows: slice, first_column: int, scores: np.ndarray) -> None:
        """Makes the score in the block the one that is compared with, to the last bit."""
        columns = self.columns[rows] - first_column
        here = np.flatnonzero(
            (self.columns[rows] >= 0) & (columns >= 0) & (columns < scores.shape[1])
        )
        scores[here, columns[here]] = self.scores[rows][here]

    def add(self, rows: slice, scores: np.ndarray, mask: np.ndarray) -> None:
        own = self.scores[rows][:, np.newaxis]
        self.above[rows] += _count_true(np.greater(scores, own, out=mask))
        self.at_least[rows] += _count_true(np.greater_equal(scores, own, out=mask))

    def ranks(self, num_seen: np.ndarray) -> np.ndarray:
        # What was seen has been given minus infinity, which equals a target of that score alone.
        at_least = self.at_least - np.where(self.scores == -np.inf, num_seen, 0)
        ranks = 1 + self.above + (at_least - self.above - 1) / 2
        return np.where(self.columns >= 0, ranks, np.nan)


def _codes(rows: np.ndarray, columns: np.ndarray, num_rows: int) -> np.ndarray:
    """One number for each pair of row and column, in the order of the columns."""
    return columns.astype("int64") * num_rows + rows


def _count_true(mask: np.ndarray) -> np.ndarray:
    """The number of True in each row; several times faster than `np.count_nonzero`."""
    return np.bitwise_count(np.packbits(mask, axis=1)).sum(axis=1, dtype="int64")
