"""Where each row is cut into what trains, what validates and what tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_negrec.data.examples import Examples
from keras_negrec.data.sessions import Sessions


@dataclass(frozen=True)
class Cuts:
    """The cuts of rows, int64 arrays of shape `(num_rows,)`.

    Args:
        train_end: how many events of the row train, 0 if it does not train.
        validation_at: the history of the row's validation example is the events before this
            one, and its target the first positive event at or after it; -1 for no example.
            Its future ends where the test history does.
        test_at: the same for the test example.
    """

    train_end: np.ndarray
    validation_at: np.ndarray
    test_at: np.ndarray

    @property
    def before_test(self) -> np.ndarray:
        """How many events of each row come before the test target, or train in rows without one."""
        return np.where(self.test_at >= 0, self.test_at, self.train_end)

    def rows_to_rank(self, split: str, sessions: Sessions) -> tuple[Sessions, np.ndarray]:
        """The rows with an example, as far as its future goes, and where its history ends.

        Args:
            split: `"validation"` or `"test"`.
            sessions: the rows that the cuts are of.
        """
        cuts = getattr(self, f"{split}_at")
        rows = np.flatnonzero(cuts >= 0)
        ends = sessions.lengths[rows]
        if split == "validation":
            ends = np.where(self.test_at[rows] >= 0, self.test_at[rows], ends)
        return sessions.between(0, ends, rows), cuts[rows]

    def examples(self, split: str, sessions: Sessions) -> Examples:
        """The examples of `"validation"` or `"test"`."""
        return Examples.after(*self.rows_to_rank(split, sessions))


def no_cuts(sessions: Sessions) -> Cuts:
    """All events train."""
    none = np.full(len(sessions), -1)
    return Cuts(sessions.lengths, none, none)


def leave_one_out_cuts(sessions: Sessions) -> Cuts:
    """The last positive event of a row tests, the one before validates: see `leave_one_out`."""
    validation_at = cut_after_positive(sessions, 3)
    held_out = validation_at >= 0
    return Cuts(
        train_end=np.where(held_out, validation_at, sessions.lengths),
        validation_at=validation_at,
        test_at=np.where(held_out, cut_after_positive(sessions, 2), -1),
    )


def session_cuts(
    sessions: Sessions, draw: np.ndarray, validation_share: float, test_share: float
) -> Cuts:
    """Whole rows validate or test: the last positive event is the target.

    Args:
        sessions: `Sessions`. Rows with fewer than two positive events always train.
        draw: float array `(num_rows,)` from 0 to 1, by which rows are picked.
        validation_share, test_share: shares of the rows.
    """
    cuts = cut_after_positive(sessions, 2)
    tests = (draw < test_share) & (cuts >= 0)
    validates = (draw < test_share + validation_share) & (cuts >= 0) & ~tests
    return Cuts(
        train_end=np.where(tests | validates, 0, sessions.lengths),
        validation_at=np.where(validates, cuts, -1),
        test_at=np.where(tests, cuts, -1),
    )


def time_cuts(
    sessions: Sessions, times: np.ndarray, validation_from: float, test_from: float
) -> Cuts:
    """What happened first trains: no event of any row from `validation_from` on does.

    A row that is under way at a cut is cut there, and the next positive event of the period is
    the target. A row that begins in a period is cut right after its last positive event but one
    in it.

    Args:
        sessions: `Sessions`.
        times: array `(num_events,)`.
        validation_from, test_from: when the two periods begin.
    """
    train_end = _first_late(sessions, times >= validation_from)
    test_start = _first_late(sessions, times >= test_from)
    test_start = np.maximum(train_end, test_start)

    def cut(start: np.ndarray, end: np.ndarray) -> np.ndarray:
        late = cut_after_positive(sessions, 2, end)
        under_way = np.where(cut_after_positive(sessions, 1, end) > start, start, -1)
        return np.where(start > 0, under_way, late)

    return Cuts(train_end, cut(train_end, test_start), cut(test_start, sessions.lengths))


def cut_after_positive(
    sessions: Sessions, nth_newest: int, ends: np.ndarray | None = None
) -> np.ndarray:
    """The position after the n-th newest positive event of each row, -1 where there is none.

    Args:
        sessions: `Sessions`.
        nth_newest: int, 1 for the newest.
        ends: int array `(num_rows,)`, to look at so many first events of each row.
    """
    positive = sessions.feedback > 0
    if ends is not None:
        positive &= sessions.positions() < np.repeat(ends, sessions.lengths)
    num_positive = np.bincount(sessions.rows()[positive], minlength=len(sessions))
    events = np.flatnonzero(positive)
    last = np.cumsum(num_positive) - 1
    enough = np.flatnonzero(num_positive >= nth_newest)
    cuts = np.full(len(sessions), -1)
    cuts[enough] = events[last[enough] - nth_newest + 1] - sessions.row_splits[enough] + 1
    return cuts


def _first_late(sessions: Sessions, late: np.ndarray) -> np.ndarray:
    """The position of each row's first late event, its length where there is none."""
    first = sessions.lengths.copy()
    rows, events = np.unique(sessions.rows()[late], return_index=True)
    first[rows] = sessions.positions()[late][events]
    return first
