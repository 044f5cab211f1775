"""The ranking that nobody can beat on a simulated log."""

from __future__ import annotations

import numpy as np

from keras_negrec.data.sessions import Sessions
from keras_negrec.data.simulation.log_truth import LogTruth
from keras_negrec.data.simulation.oracle import Oracle
from keras_negrec.data.vocabulary import Vocabulary


class LogOracle(Oracle):
    """Scores items by the exact probability that they are the next kept track of a log.

    The oracle knows the mood of each session, the rules it was drawn by, and how many tracks the
    session keeps. A row may be a session, or, with `session_ids`, a user with all sessions up to
    now: where a user's last session has come to its end, the next kept track is one of the next
    session.

    The probabilities are exact for histories that start where their session, or user, started,
    hold every event up to their end and end anywhere.

    Args:
        truth: `LogTruth` of the simulation.
        vocabulary: `Vocabulary` that the histories were encoded with.

    Raises:
        ValueError: the vocabulary holds an item that is not in the simulation.

    Example:

    >>> log = keras_negrec.data.simulate_log(num_users=20, num_items=1000)
    >>> vocabulary = keras_negrec.data.Vocabulary(log.truth.items)
    >>> sessions = keras_negrec.data.Sessions.from_events(log.events(), vocabulary)
    >>> test = keras_negrec.data.leave_one_out(sessions).test
    >>> log.oracle(vocabulary).score(test.histories).shape == (len(test), 1000)
    True
    """

    truth: LogTruth  # type: ignore[assignment]

    def __init__(self, truth: LogTruth, vocabulary: Vocabulary):
        super().__init__(truth, vocabulary)  # type: ignore[arg-type]

    def score(self, histories: Sessions) -> np.ndarray:
        """The probability of each item to be the next kept track.

        Args:
            histories: `Sessions` whose `keys` are session ids of the simulation, or user ids
                where they have `session_ids`.

        Returns:
            float32 array of shape `(len(histories), len(vocabulary))`; column `j` is the item
            of internal id `j + 1`. A row whose user keeps nothing more is 0.

        Raises:
            ValueError: a key that is no session or user of the simulation, a session index that
                the user does not have, or an id beyond the vocabulary.
        """
        if histories.session_ids is None:
            return super().score(histories)
        sessions, is_over = self._current_sessions(histories)
        scores = super().score(sessions)
        scores[is_over] = 0
        return scores

    def _current_sessions(self, histories: Sessions) -> tuple[Sessions, np.ndarray]:
        """The session that each user's next kept track is in, up to now; and who has none."""
        self._check_keys(histories.keys, "user", len(self.truth.first_sessions) - 1)
        assert histories.session_ids is not None
        first, end = (self.truth.first_sessions[histories.keys + more] for more in (0, 1))
        rows = histories.rows()
        session = np.repeat(first, histories.lengths) + histories.session_ids
        wrong = session >= np.repeat(end, histories.lengths)
        if wrong.any():
            event = int(np.argmax(wrong))
            raise ValueError(
                f"User {histories.keys[rows[event]]} has {(end - first)[rows[event]]} sessions. "
                f"Received: session index {histories.session_ids[event]}"
            )
        current = first.copy()
        np.maximum.at(current, rows, session)
        is_current = session == current[rows]
        num_current = np.bincount(rows[is_current], minlength=len(histories))
        num_kept = np.bincount(
            rows[is_current & (histories.feedback > 0)], minlength=len(histories)
        )
        pairs = np.stack([rows, histories.item_ids], axis=1)[is_current]
        num_heard = np.bincount(np.unique(pairs, axis=0)[:, 0], minlength=len(histories))
        ended = num_kept == self.truth.states(current).num_kept
        ended |= num_heard == len(self.truth.items)
        ended &= num_current > 0
        starts = np.where(ended, histories.lengths, histories.lengths - num_current)
        current += ended
        is_over = current == end
        now = histories.between(starts, histories.lengths)
        return (
            Sessions(now.columns, now.row_splits, np.where(is_over, 0, current)),
            is_over,
        )

    def _keep_probability(self, sessions: np.ndarray, num_kept: np.ndarray) -> np.ndarray:
        return self.truth.keep_probability(sessions, num_kept)

    @property
    def _num_sessions(self) -> int:
        return self.truth.num_sessions
