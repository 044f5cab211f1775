"""Where simulated sessions stand after their histories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_negrec.data.sessions import Sessions
from keras_negrec.data.simulation.simulation_truth import SimulationTruth


@dataclass(frozen=True, eq=False)
class SessionProgress:
    """What the rules depend on, in the last session of each row.

    Args:
        num_kept: int array `(num_rows,)`, the tracks kept so far.
        last_genre: int array `(num_rows,)`, the genre of the last kept track, -1 for none.
        avoided: float32 array `(num_rows, num_genres)`, what is remembered of the skips.
        heard: bool array `(num_rows, num_items)`, the tracks heard before the round.
    """

    num_kept: np.ndarray
    last_genre: np.ndarray
    avoided: np.ndarray
    heard: np.ndarray

    @classmethod
    def of(cls, truth: SimulationTruth, histories: Sessions, items: np.ndarray) -> SessionProgress:
        """After the histories, whose events played these `items` of the simulation."""
        session_of, session_rows, kept_before = events_by_session(histories)
        is_current = (np.diff(session_rows, append=-1) != 0)[session_of]
        row, item, nth = histories.rows()[is_current], items[is_current], kept_before[is_current]
        is_kept, num_rows = histories.feedback[is_current] > 0, len(histories)
        num_kept = np.bincount(row[is_kept], minlength=num_rows)
        last_genre = np.full(num_rows, -1)
        is_last = is_kept & (nth == num_kept[row] - 1)
        last_genre[row[is_last]] = truth.genre_of[item[is_last]]
        is_closed = nth < num_kept[row]
        heard = np.zeros((num_rows, len(truth.items)), bool)
        heard[row[is_closed], item[is_closed]] = True
        skipped = is_closed & ~is_kept
        row, item, nth = row[skipped], item[skipped], nth[skipped]
        num_skips = np.zeros((num_rows, num_kept.max(initial=0)), int)
        np.add.at(num_skips, (row, nth), 1)
        share = truth.memory ** (num_kept[row] - 1 - nth) / num_skips[row, nth]
        avoided = np.zeros((num_rows, len(truth.likeness)))
        np.add.at(avoided, row, share[:, np.newaxis] * truth.likeness[truth.genre_of[item]])
        return cls(num_kept, last_genre, avoided.astype("float32"), heard)


def events_by_session(histories: Sessions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The session of each event, the row of each session, and the tracks kept before each event.

    A row is one session, or with `session_ids` the sessions of a user.
    """
    rows, kept = histories.rows(), histories.feedback > 0
    begins = np.diff(rows, prepend=-1) != 0
    if histories.session_ids is not None:
        begins |= np.diff(histories.session_ids, prepend=-1) != 0
    session_of = np.cumsum(begins) - 1
    kept_before: np.ndarray = np.cumsum(kept) - kept
    return session_of, rows[begins], kept_before - kept_before[begins][session_of]
