"""Where each row is cut into what trains, what validates and what tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

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

        `split` is `"validation"` or `"test"`, and `sessions` are the rows that the cuts are of.
        """
        cuts = getattr(self, f"{split}_at")
        ends = sessions.lengths
        if split == "validation":
            ends = np.where(self.test_at >= 0, self.test_at, ends)
        rows = np.flatnonzero(cuts >= 0)
        return sessions.between(0, ends[rows], rows), cuts[rows]

    def examples(self, split: str, sessions: Sessions) -> Examples:
        """The examples of `"validation"` or `"test"`."""
        return Examples.after(*self.rows_to_rank(split, sessions))


def no_cuts(sessions: Sessions) -> Cuts:
    """All events train."""
    none = np.full(len(sessions), -1)
    return Cuts(sessions.lengths, none, none)


def leave_one_out_cuts(sessions: Sessions) -> Cuts:
    """The last positive event of a row tests, the one before validates: see `leave_one_out`."""
    validation_at = _after_positive(sessions, 3)
    held_out = validation_at >= 0
    return Cuts(
        train_end=np.where(held_out, validation_at, sessions.lengths),
        validation_at=validation_at,
        test_at=np.where(held_out, _after_positive(sessions, 2), -1),
    )


def session_cuts(
    sessions: Sessions, draw: np.ndarray, validation_share: float, test_share: float
) -> Cuts:
    """Shares of the rows validate or test, whole: the last positive event is the target.

    `draw`, a float array `(num_rows,)` from 0 to 1, picks them. Rows with fewer than two positive
    events always train.
    """
    cuts = _after_positive(sessions, 2)
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
    in it. `times` is an array `(num_events,)`.
    """
    train_end = sessions.first(times >= validation_from)
    test_start = np.maximum(train_end, sessions.first(times >= test_from))

    def cut(start: np.ndarray, end: np.ndarray) -> np.ndarray:
        under_way = np.where(_after_positive(sessions, 1, end) > start, start, -1)
        return np.where(start > 0, under_way, _after_positive(sessions, 2, end))

    return Cuts(train_end, cut(train_end, test_start), cut(test_start, sessions.lengths))


def _after_positive(
    sessions: Sessions, nth_newest: int, ends: np.ndarray | None = None
) -> np.ndarray:
    """The position after the n-th newest positive event before `ends`, -1 where there is none."""
    positive = sessions.feedback > 0
    if ends is not None:
        positive &= sessions.positions() < np.repeat(ends, sessions.lengths)
    rows, positions = sessions.rows()[positive], sessions.positions()[positive]
    nth = pd.Series(positions).groupby(rows).nth(-nth_newest)
    cuts = np.full(len(sessions), -1)
    cuts[rows[nth.index]] = nth + 1
    return cuts
