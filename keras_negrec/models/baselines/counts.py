"""The baselines that count what was kept: popularity, and what was kept together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse

from keras_negrec.argument_checks import check_item_ids, check_num_items, check_positive_int
from keras_negrec.data import Sessions, TrainingData, Vocabulary

_PAIRS_AT_ONCE = 2**22
_SCORES_AT_ONCE = 2**24  # at most 200 MB as a sparse matrix


class Popularity:
    """Scores every item by how often it was kept in training, whoever asks.

    Args:
        sessions: `Sessions` or `Prepared`, the training events.
        num_items: int. Size of the catalogue. Default: that of `vocabulary`.
        vocabulary: `Vocabulary` or None. What `recommend` answers with.

    Raises:
        ValueError: an item id above `num_items`, or `num_items` or the sessions' vocabulary
            against `vocabulary`.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 2, 3]], [[1, 1, 1, -1]])
    >>> keras_negrec.models.Popularity(sessions, num_items=3).score(sessions)
    array([[1., 2., 0.]], dtype=float32)
    """

    def __init__(
        self,
        sessions: TrainingData,
        num_items: int | None = None,
        *,
        vocabulary: Vocabulary | None = None,
    ):
        self.num_items = check_num_items(num_items, vocabulary)
        self.vocabulary = vocabulary
        sessions.check_catalogue(self.num_items, vocabulary)
        self.counts = sessions.item_counts(self.num_items, positive=True).astype("float32")

    def score(self, histories: Sessions) -> np.ndarray:
        """float32 array of shape `(num_rows, num_items)`, column `j` for item `j + 1`."""
        return np.repeat(self.counts[np.newaxis], len(histories), axis=0)


class ItemCooccurrence:
    """Scores an item by how often it was kept in the sessions of what the history kept.

    With `n(i)` the number of training sessions that kept item `i`, and `c(i, j)` the number of
    those in which `j` was kept as well, after `i` and at most `window` kept items away, the
    similarity of two items is their cosine, shrunk towards 0 where it rests on little:

        s(i, j) = c(i, j) / (sqrt(n(i) * n(j)) + shrinkage)

    An item is no neighbor of its own. The score of item `j` after a history is the sum of
    `decay ** age * s(i, j)` over the history's kept events, with `age` the number of kept events
    that came later. Events with unknown feedback play no part, and no more do skipped ones, unless
    `skip_weight` says so. Items that training never kept score 0, and so does everything after a
    history that kept nothing.

    The counts are sparse throughout. Of prepared data only the kept events are in memory, some 50
    bytes each. The defaults are what did well on held-out users of LastFM and KuaiRand both.

    Args:
        sessions, num_items, vocabulary: as for `Popularity`.
        window: int or None. How many kept items two items may be apart; None: the whole row.
        directed: bool. Whether only what came later is a neighbor; otherwise what came before
            is one too, and `s` is symmetric.
        shrinkage: float of at least 0.
        decay: float above 0 and at most 1. 1 weighs all of the history alike.
        skip_weight: float. Weight of the history's skipped events where a kept one has 1; below
            0, what goes with a skipped item is pushed down.
        num_neighbors: int or None. How many most similar items are remembered for each item.

    Raises:
        ValueError: an argument outside of its range, and as for `Popularity`.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3], [1, 2]], [[1, 1, -1], [1, 1]])
    >>> model = keras_negrec.models.ItemCooccurrence(sessions, num_items=3, shrinkage=0)
    >>> model.score(keras_negrec.data.Sessions.from_lists([[1], [3]]))
    array([[0., 1., 0.],
           [0., 0., 0.]], dtype=float32)

    Reference:
        [Sarwar et al., 2001](https://doi.org/10.1145/371920.372071);
        [Deshpande & Karypis, 2004](https://doi.org/10.1145/963770.963776)
    """

    def __init__(
        self,
        sessions: TrainingData,
        num_items: int | None = None,
        *,
        window: int | None = 20,
        directed: bool = True,
        shrinkage: float = 10.0,
        decay: float = 0.9,
        skip_weight: float = 0.0,
        num_neighbors: int | None = 500,
        vocabulary: Vocabulary | None = None,
    ):
        self.num_items = check_num_items(num_items, vocabulary)
        self.vocabulary = vocabulary
        self.window = None if window is None else check_positive_int("window", window)
        self.directed = directed
        for name, value, is_right, rule in (
            ("shrinkage", shrinkage, shrinkage >= 0, "at least 0"),
            ("decay", decay, 0 < decay <= 1, "above 0 and at most 1"),
            ("skip_weight", skip_weight, np.isfinite(skip_weight), "finite"),
        ):
            if not is_right:
                raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}")
        self.shrinkage, self.decay = float(shrinkage), float(decay)
        self.skip_weight = float(skip_weight)
        if num_neighbors is not None:
            check_positive_int("num_neighbors", num_neighbors)
        self.num_neighbors = num_neighbors
        sessions.check_catalogue(self.num_items, vocabulary)
        self.similarities = self._similarities(sessions)

    def score(self, histories: Sessions) -> np.ndarray:
        """float32 array of shape `(num_rows, num_items)`, column `j` for item `j + 1`."""
        check_item_ids(histories.item_ids, self.num_items)
        kept = histories.feedback > 0
        num_kept = np.append(0, np.cumsum(kept))  # before each event, and in all
        age = np.repeat(num_kept[histories.row_splits[1:]], histories.lengths) - num_kept[1:]
        weights = np.where(kept, 1.0, np.where(histories.feedback < 0, self.skip_weight, 0.0))
        weights = (weights * self.decay**age).astype("float32")
        events = scipy.sparse.csr_array(
            (weights, histories.item_ids - 1, histories.row_splits),
            shape=(len(histories), self.num_items),
        )
        scores = np.zeros(events.shape, "float32")
        step = max(1, _SCORES_AT_ONCE // self.num_items)
        for start in range(0, len(histories), step):
            rows = slice(start, start + step)
            (events[rows] @ self.similarities).toarray(out=scores[rows])
        return scores

    def _similarities(self, sessions: TrainingData) -> scipy.sparse.csr_array:
        """`s` as a matrix of shape `(num_items, num_items)`."""
        kept_items, kept_rows, num_rows = [np.zeros(0, "int64")], [np.zeros(0, "int64")], 0
        for chunk in sessions.chunks():
            kept = chunk.feedback > 0
            kept_items.append(chunk.item_ids[kept].astype("int64") - 1)
            kept_rows.append(chunk.rows()[kept] + num_rows)
            num_rows += len(chunk)
        items, rows = np.concatenate(kept_items), np.concatenate(kept_rows)
        in_session = scipy.sparse.coo_array(
            (np.ones(len(items)), (items, rows)), shape=(self.num_items, num_rows)
        ).tocsr()
        norms = np.sqrt(np.diff(in_session.indptr))
        blocks = []
        for start, counts in self._pair_counts(items, rows):
            item, neighbor = start + counts.nonzero()[0], counts.indices
            counts.data /= norms[item] * norms[neighbor] + self.shrinkage
            counts.data[item == neighbor] = 0
            counts.eliminate_zeros()
            if self.num_neighbors is not None:
                _keep_largest(counts, self.num_neighbors)
            blocks.append(counts.astype("float32"))
        return scipy.sparse.vstack(blocks, format="csr")

    def _pair_counts(self, items, rows) -> Iterator[tuple[int, scipy.sparse.csr_array]]:
        """`c`, some items at a time: the first of them, and a matrix with a row for each."""
        event = np.arange(len(items))
        reach = len(items) if self.window is None else self.window
        if self.directed:
            first = event + 1
        else:
            first = np.maximum(event - reach, np.searchsorted(rows, rows, "left"))
        end = np.minimum(event + reach + 1, np.searchsorted(rows, rows, "right"))

        by_item = np.argsort(items, kind="stable")  # and so by row, for each item
        splits = np.searchsorted(items[by_item], np.arange(self.num_items + 1))
        num_pairs = np.append(0, np.cumsum((end - first)[by_item]))[splits]
        start = 0
        while start < self.num_items:
            stop = np.searchsorted(num_pairs, num_pairs[start] + _PAIRS_AT_ONCE, "right") - 1
            stop = int(max(stop, start + 1))
            chosen = by_item[splits[start] : splits[stop]]
            sizes = (end - first)[chosen]
            before = np.cumsum(sizes) - sizes
            neighbors = items[np.arange(sizes.sum()) + np.repeat(first[chosen] - before, sizes)]
            # An item in a session is one group of events, in which a neighbor counts once.
            is_first = np.ones(len(chosen), bool)
            is_first[1:] = (np.diff(items[chosen]) != 0) | (np.diff(rows[chosen]) != 0)
            item_of_group = items[chosen][is_first]
            in_group = scipy.sparse.csr_array(
                (np.ones(len(neighbors)), neighbors, np.append(before[is_first], len(neighbors))),
                shape=(len(item_of_group), self.num_items),
            )
            in_group.sum_duplicates()
            in_group.data[:] = 1
            item = (item_of_group - start, np.arange(len(item_of_group)))
            groups = scipy.sparse.csr_array(
                (np.ones(len(item_of_group)), item), shape=(stop - start, len(item_of_group))
            )
            yield start, groups @ in_group
            start = stop


def _keep_largest(matrix: scipy.sparse.csr_array, k: int) -> None:
    """Keeps the k largest values of each row alone; of equal ones those of the first columns."""
    matrix.sort_indices()
    for row in np.flatnonzero(np.diff(matrix.indptr) > k):
        values = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
        values[np.argsort(-values, kind="stable")[k:]] = 0
    matrix.eliminate_zeros()
