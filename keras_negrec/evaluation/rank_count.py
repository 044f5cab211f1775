"""Ranks by counting, from the scores of a part of the catalogue after the other."""

from __future__ import annotations

import numpy as np

from keras_negrec.data import Examples
from keras_negrec.evaluation.top_columns import top_columns

_MOST_CANDIDATES = 16  # of a row, on average, until the best are taken from them


class RankCount:
    """Counts how many items score above the targets and skip targets of some examples.

    The scores of each example come in blocks of columns, left to right. Nothing but the counts and
    the `top_k` best items so far is kept between blocks. Blocks of different rows may be added by
    different threads at once. `exclude_seen` is that of `rank_targets`.

    Attributes:
        target, skip_target: which item of each example is counted for, `columns`, -1 where there
            is none, and its `scores`, which `read_own` fills in, or the caller, for each row
            before its first block.
    """

    def __init__(self, examples: Examples, *, exclude_seen: bool | None, top_k: int | None = None):
        self.target = _OwnCount(examples.targets - 1)
        self.skip_target = _OwnCount(examples.skip_targets - 1)
        self._num_examples = len(examples)
        # What does not compete, each item of each row once, by item.
        if exclude_seen is None:
            exclude_seen = examples.exclude_seen
        taken_out = [examples.histories if exclude_seen else None, examples.excluded_items]
        seen = [
            _codes(items.rows(), items.item_ids - 1, len(examples))
            for items in taken_out
            if items is not None
        ]
        self._seen = np.unique(np.concatenate(seen or [np.zeros(0, "int64")]))
        self._seen_columns, self._seen_rows = np.divmod(self._seen, max(len(examples), 1))
        self._top_k = top_k
        self._candidates: dict[tuple[int, int], list] = {}
        self._top_columns = np.full((len(examples), top_k or 0), -1)
        self._top_scores = np.full(self._top_columns.shape, -np.inf, "float32")

    def read_own(self, rows: slice, scores: np.ndarray) -> None:
        """Takes the scores of targets and skip targets from those of all items."""
        for own in (self.target, self.skip_target):
            # That of the last item where there is no target, which counts for nothing.
            own.scores[rows] = scores[np.arange(len(scores)), own.columns[rows]]

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
        for own in (self.target, self.skip_target):
            own.add(rows, columns, scores, seen)
        if self._top_k is not None:
            self._add_top(rows, columns, scores, seen)

    def _add_top(self, rows, columns, scores, seen):
        top_scores, top_columns_ = self._top_scores[rows], self._top_columns[rows]
        if columns[0] == 0:
            available = scores.copy()
            available[seen] = -np.inf
            for row, row_scores in enumerate(available):
                best = top_columns(row_scores, top_scores.shape[1])
                top_columns_[row, : len(best)] = columns[best]
                top_scores[row, : len(best)] = row_scores[best]
            return
        # What does not beat the last of the best so far, or only equals it, is not among them.
        is_above = scores > top_scores[:, -1:]
        is_above[seen] = False
        counts = _counts(is_above)
        rows_with = np.flatnonzero(counts)
        if len(rows_with) == 0:
            return
        found_columns = np.flatnonzero(is_above[rows_with]) % scores.shape[1]
        found_rows = np.repeat(rows_with, counts[rows_with])
        candidates = self._candidates.setdefault((rows.start, rows.stop), [])
        candidates.append((found_rows, columns[found_columns], scores[found_rows, found_columns]))
        if sum(len(each) for each, _, _ in candidates) > _MOST_CANDIDATES * len(scores):
            self._take_candidates(rows)

    def _take_candidates(self, rows: slice) -> None:
        """Puts what beat the best so far among them."""
        candidates = self._candidates.pop((rows.start, rows.stop))
        found_rows, columns, scores = (
            np.concatenate(each) for each in zip(*candidates, strict=True)
        )
        order = np.argsort(found_rows, kind="stable")  # within a row, columns stay in order
        rows_with, place, counts = np.unique(
            found_rows[order], return_inverse=True, return_counts=True
        )
        within = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        top_scores, top_columns_ = self._top_scores[rows], self._top_columns[rows]
        k = top_scores.shape[1]
        all_scores = np.full((len(rows_with), k + counts.max()), -np.inf, "float32")
        all_columns = np.full(all_scores.shape, -1)
        all_scores[:, :k], all_columns[:, :k] = top_scores[rows_with], top_columns_[rows_with]
        all_scores[place, k + within] = scores[order]
        all_columns[place, k + within] = columns[order]
        # Equal scores keep their order, which is that of the columns.
        best = np.argsort(-all_scores, axis=1, kind="stable")[:, :k]
        top_scores[rows_with] = np.take_along_axis(all_scores, best, axis=1)
        top_columns_[rows_with] = np.take_along_axis(all_columns, best, axis=1)

    def ranks(self) -> dict[str, np.ndarray]:
        """What was counted: the dict that `rank_targets` returns. It ends the counting."""
        ranks = {}
        for name, own in (("target", self.target), ("skip_target", self.skip_target)):
            codes = _codes(np.arange(self._num_examples), own.columns, self._num_examples)
            ranks[name] = np.where(np.isin(codes, self._seen), np.inf, own.ranks())
        of_target, of_skip = self.target.scores, self.skip_target.scores
        preference = np.where(of_target == of_skip, 0.5, of_target > of_skip)
        has_both = (self.target.columns >= 0) & (self.skip_target.columns >= 0)
        ranks["preference"] = np.where(has_both, preference, np.nan)
        if self._top_k is not None:
            for start, stop in list(self._candidates):
                self._take_candidates(slice(start, stop))
            ranks["top_items"] = (self._top_columns + 1).astype("int32")
        return ranks


class _OwnCount:
    """How many items of each row score above one of them, and how many at least as high."""

    def __init__(self, columns: np.ndarray):
        self.columns = columns  # -1: none
        self.scores = np.zeros(len(columns), "float32")
        self._above = np.zeros(len(columns), "int64")
        self._at_least = np.zeros(len(columns), "int64")

    def add(self, rows: slice, columns: np.ndarray, scores: np.ndarray, seen) -> None:
        own_columns = self.columns[rows]
        has = np.flatnonzero(own_columns >= 0)
        if len(has) == 0:
            return
        num_rows = has[-1] + 1  # none of the others has an item to count for
        own = self.scores[rows][:num_rows, np.newaxis]
        scores = scores[:num_rows]
        # Neither the item itself nor what was seen competes.
        place, found = _places(columns, own_columns[has])
        itself = has[found], place[found]
        seen = tuple(indices[seen[0] < num_rows] for indices in seen)
        for compare, counts in ((np.greater, self._above), (np.greater_equal, self._at_least)):
            is_above = compare(scores, own)
            is_above[itself] = False
            is_above[seen] = False
            counts[rows.start : rows.start + num_rows] += _counts(is_above)

    def ranks(self) -> np.ndarray:
        ranks = 1 + self._above + (self._at_least - self._above) / 2
        return np.where(self.columns >= 0, ranks, np.nan)


def _counts(is_true: np.ndarray) -> np.ndarray:
    """The number of True in each row, several times faster than by `np.count_nonzero`."""
    return np.bitwise_count(np.packbits(is_true, axis=1)).sum(axis=1, dtype="int64")


def _places(columns: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where columns stand in a rising list, and whether they do."""
    place = np.minimum(np.searchsorted(columns, wanted), len(columns) - 1)
    return place, columns[place] == wanted


def _codes(rows: np.ndarray, columns: np.ndarray, num_rows: int) -> np.ndarray:
    """One number for each pair of row and column, in the order of the columns."""
    return columns.astype("int64") * num_rows + rows
