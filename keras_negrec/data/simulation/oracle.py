"""The ranking that nobody can beat on simulated sessions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_item_ids
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.simulation.session_progress import SessionProgress
from keras_negrec.data.simulation.simulation_truth import SimulationTruth
from keras_negrec.data.vocabulary import Vocabulary


class Oracle:
    """Scores items by the exact probability that they are the next kept track.

    The oracle knows the rules, the items, and of each session the mood, the tendency and how
    many tracks it keeps. A model has only the history: `HistoryOracle` is what it could reach.

    A row may be a session, or, with `session_ids`, a user with all sessions up to now: where the
    last of them has come to its end, the next kept track is one of the next session.

    The probabilities are exact for histories that start where their session, or user, started,
    hold every event up to their end and end anywhere. Tracks that were heard before the current
    round get 0; a track skipped since the last kept one can still come back in the same round.

    Args:
        truth: `SimulationTruth` of the simulation.
        vocabulary: `Vocabulary` that the histories were encoded with.

    Raises:
        ValueError: the vocabulary holds an item that is not in the simulation.

    Example:

    >>> simulation = keras_negrec.data.simulate_sessions(num_sessions=20, num_items=50)
    >>> vocabulary = keras_negrec.data.Vocabulary.from_items(simulation.events["item"])
    >>> sessions = keras_negrec.data.Sessions.from_events(simulation.events, vocabulary)
    >>> test = keras_negrec.data.leave_one_out(sessions).test
    >>> simulation.oracle(vocabulary).score(test.histories).shape == (len(test), len(vocabulary))
    True
    """

    def __init__(self, truth: SimulationTruth, vocabulary: Vocabulary):
        self.truth = truth
        self.num_items = len(vocabulary)
        self._indices = pd.Index(truth.items["item"]).get_indexer(vocabulary.items)
        if (self._indices < 0).any():
            raise ValueError(
                f"Only the simulation's items are known, such as {truth.items['item'].iloc[0]!r}. "
                f"Received a vocabulary with {vocabulary.items[self._indices < 0].tolist()[0]!r}"
            )

    def score(self, histories: Sessions) -> np.ndarray:
        """The probability of each item to be the next kept track.

        Args:
            histories: `Sessions` whose `keys` are session ids of the simulation, or user ids
                where they have `session_ids`.

        Returns:
            float32 array of shape `(len(histories), num_items)`; column `j` is the item of
            internal id `j + 1`. A row sums to 1 where the vocabulary holds all items that the
            session has not heard, and is 0 where nothing more is kept.

        Raises:
            ValueError: a key that is no session or user of the simulation, a session index that
                the user does not have, or an id beyond the vocabulary.
        """
        check_item_ids(histories.item_ids, self.num_items)
        scores = np.zeros((len(histories), self.num_items), "float32")
        step = max(1, min(1024, 2**22 // len(self.truth.items)))  # bounds the memory
        for start in range(0, len(histories), step):
            rows = histories.take(np.arange(start, min(start + step, len(histories))))
            now, following, has_ended = self._beliefs(rows, self._progress(rows))
            for share, belief, events in (
                (1 - has_ended, now, rows),
                (has_ended, following, rows.between(0, 0)),  # a session that has not begun
            ):
                some = np.flatnonzero(share)
                kept = self._next_kept(self._progress(events.take(some)), belief[some])
                scores[start + some] += share[some, np.newaxis].astype("float32") * kept
        return scores

    def _progress(self, histories: Sessions) -> SessionProgress:
        return SessionProgress.of(self.truth, histories, self._indices[histories.item_ids - 1])

    def _beliefs(
        self, histories: Sessions, progress: SessionProgress
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is believed of the current session of each row, of the next, and of its end.

        Returns:
            Two arrays of shape `(n, num_moods * num_tendencies)`: the probability of each mood
            with each tendency; and the probability `(n,)` that the current session has ended.
        """
        sessions, keys = self.truth.sessions, histories.keys
        kind, number = "session", len(sessions)
        if histories.session_ids is not None:
            kind, number = "user", len(self.truth.first_sessions) - 1
        wrong = keys[(keys < 0) | (keys >= number)] if keys.dtype.kind in "iu" else keys
        if len(wrong):
            raise ValueError(
                f"`histories.keys` must be {kind} ids of the simulation, 0 to {number - 1}. "
                f"Received: {wrong.tolist()[0]!r}"
            )
        if histories.session_ids is None:
            return self._known(keys), self._known(keys), np.zeros(len(keys))
        first, end = (self.truth.first_sessions[keys + more] for more in (0, 1))
        current = first.copy()
        np.maximum.at(current, histories.rows(), first[histories.rows()] + histories.session_ids)
        if (current >= end).any():
            row = int(np.argmax(current >= end))
            raise ValueError(
                f"User {keys[row]} has {end[row] - first[row]} sessions. "
                f"Received: session index {current[row] - first[row]}"
            )
        has_ended = progress.num_kept == sessions["num_kept"].to_numpy()[current]
        has_ended |= progress.heard.all(axis=1)
        following = self._known(np.minimum(current + 1, end - 1))
        following[current + 1 == end] = 0
        return self._known(current), following, has_ended.astype(float)

    def _known(self, sessions: np.ndarray) -> np.ndarray:
        rows, num_tendencies = self.truth.sessions.iloc[sessions], len(self.truth.tendencies)
        belief = np.zeros((len(rows), len(self.truth.match) * num_tendencies))
        belief[np.arange(len(rows)), rows["mood"] * num_tendencies + rows["tendency"]] = 1
        return belief

    def _next_kept(self, progress: SessionProgress, belief: np.ndarray) -> np.ndarray:
        """How likely each item is kept next: the mean over what is believed of the listener.

        In state s it is p(x) keep_s(x) / sum_y p(y) keep_s(y), with p(x) the same in all states.
        """
        truth, items = self.truth, np.arange(len(self.truth.items))
        played = truth.play_probability(progress.last_genre, progress.avoided, progress.heard)
        expected = np.zeros_like(played)
        step = max(1, 2**24 // len(items))  # bounds the memory
        for num_kept in np.unique(progress.num_kept):
            rows = np.flatnonzero(progress.num_kept == num_kept)
            states = np.flatnonzero(belief[rows].any(axis=0))
            for start in range(0, len(states), step):
                some = states[start : start + step]
                mood, tendency = np.divmod(some[:, np.newaxis], len(truth.tendencies))
                keep = truth.keep_probability(mood, tendency, num_kept, items)
                ends = np.maximum(played[rows] @ keep.T, np.float32(1e-30))
                expected[rows] += (belief[np.ix_(rows, some)] / ends).astype("float32") @ keep
        return (played * expected)[:, self._indices]
