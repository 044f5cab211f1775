"""Where simulated sessions stand after their histories."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from keras_negrec.data.sessions import Sessions
from keras_negrec.data.simulation.simulation_truth import SimulationTruth


@dataclass(frozen=True, eq=False)
class SessionProgress:
    """What the rules depend on, of the current session of each row, and of all their events.

    A row is a session, or, with `session_ids`, a user, whose current session is the last one.

    Args:
        num_kept: int array `(num_rows,)`, the tracks kept so far.
        last_genre: int array `(num_rows,)`, the genre of the last kept track, -1 for none.
        avoided: float32 array `(num_rows, num_genres)`, what the service remembers of the skips.
        heard: bool array `(num_rows, num_items)`, the tracks heard before the round.
        ends_with_kept: bool array `(num_rows,)`, whether the newest event was kept.
        items, feedback: int arrays `(num_events,)`.
        kept_before: int array `(num_events,)`, the tracks that its session kept before.
        session_of: int array `(num_events,)`, which of the sessions.
        session_rows: int array `(num_sessions,)`, the row of each session of the rows.
        is_current: bool array `(num_sessions,)`.
    """

    num_kept: np.ndarray
    last_genre: np.ndarray
    avoided: np.ndarray
    heard: np.ndarray
    ends_with_kept: np.ndarray
    items: np.ndarray
    feedback: np.ndarray
    kept_before: np.ndarray
    session_of: np.ndarray
    session_rows: np.ndarray
    is_current: np.ndarray

    @classmethod
    def none(cls, truth: SimulationTruth, num_rows: int) -> SessionProgress:
        """Sessions that have not begun."""
        return cls(
            num_kept=np.zeros(num_rows, int),
            last_genre=np.full(num_rows, -1),
            avoided=np.zeros((num_rows, len(truth.likeness)), "float32"),
            heard=np.zeros((num_rows, len(truth.items)), bool),
            ends_with_kept=np.zeros(num_rows, bool),
            **{
                name: np.zeros(0, int)
                for name in ("items", "feedback", "kept_before", "session_of", "session_rows")
            },
            is_current=np.zeros(0, bool),
        )

    @classmethod
    def of(cls, truth: SimulationTruth, histories: Sessions, items: np.ndarray) -> SessionProgress:
        """The sessions after their histories; `items` are indices of the simulation's."""
        rows, feedback = histories.rows(), histories.feedback
        kept = feedback > 0
        begins = np.diff(rows, prepend=-1) != 0
        if histories.session_ids is not None:
            begins |= np.diff(histories.session_ids, prepend=-1) != 0
        session_of = np.cumsum(begins) - 1
        session_rows = rows[begins]
        kept_before: np.ndarray = np.cumsum(kept) - kept
        kept_before -= kept_before[begins][session_of]
        is_current = np.diff(session_rows, append=-1) != 0

        start = cls.none(truth, len(histories))
        current = is_current[session_of]  # events of current sessions, from here on
        row, item = rows[current], items[current]
        nth: np.ndarray = kept_before[current]
        is_kept = kept[current]
        num_kept = np.bincount(row[is_kept], minlength=len(histories))
        is_last = is_kept & (nth == num_kept[row] - 1)
        start.last_genre[row[is_last]] = truth.genre_of[item[is_last]]
        is_closed = nth < num_kept[row]
        start.heard[row[is_closed], item[is_closed]] = True
        skipped = is_closed & ~is_kept
        row, item, nth = row[skipped], item[skipped], nth[skipped]
        num_skips = np.zeros((len(histories), num_kept.max(initial=0)), int)
        np.add.at(num_skips, (row, nth), 1)
        share = truth.memory ** (num_kept[row] - 1 - nth) / num_skips[row, nth]
        likeness = truth.likeness[truth.genre_of[item]]
        np.add.at(start.avoided, row, (share[:, np.newaxis] * likeness).astype("float32"))
        ends_with_kept = np.zeros(len(histories), bool)
        filled = np.flatnonzero(histories.lengths)
        ends_with_kept[filled] = kept[histories.row_splits[1:][filled] - 1]
        return replace(
            start,
            num_kept=num_kept,
            ends_with_kept=ends_with_kept,
            items=items,
            feedback=feedback,
            kept_before=kept_before,
            session_of=session_of,
            session_rows=session_rows,
            is_current=is_current,
        )

    def take(self, rows: np.ndarray) -> SessionProgress:
        """The given rows, without their events."""
        names = ("num_kept", "last_genre", "avoided", "heard", "ends_with_kept")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})
