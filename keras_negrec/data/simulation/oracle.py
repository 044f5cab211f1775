"""The ranking that nobody can beat on simulated sessions."""

from __future__ import annotations

import numpy as np

from keras_negrec.data.sessions import Sessions
from keras_negrec.data.simulation.session_progress import SessionProgress
from keras_negrec.data.simulation.simulation_truth import SimulationTruth
from keras_negrec.data.vocabulary import Vocabulary


class Oracle:
    """Scores items by the exact probability that they are the next kept track.

    The oracle knows the rules, the items, and of each session the mood, the tendency and how
    many tracks it keeps. A model has only the history, so that it cannot be expected to reach the
    oracle: `HistoryOracle` is what it could reach.

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
    >>> scores = simulation.oracle(vocabulary).score(test.histories)
    >>> scores.shape == (len(test), len(vocabulary))
    True
    """

    def __init__(self, truth: SimulationTruth, vocabulary: Vocabulary):
        self.truth = truth
        self.vocabulary = vocabulary
        self.num_items = len(vocabulary)
        self._indices = truth.indices_of(vocabulary)

    def score(self, histories: Sessions) -> np.ndarray:
        """The probability of each item to be the next kept track.

        Args:
            histories: `Sessions` whose `keys` are session ids of the simulation, or user ids
                where they have `session_ids`.

        Returns:
            float32 array of shape `(len(histories), len(vocabulary))`; column `j` is the item
            of internal id `j + 1`. A row sums to 1 where the vocabulary holds all items that
            the session has not heard, and is 0 where nothing more is kept.

        Raises:
            ValueError: a key that is no session or user of the simulation, a session index that
                the user does not have, or an id beyond the vocabulary.
        """
        if histories.item_ids.max(initial=0) > len(self.vocabulary):
            raise ValueError(
                f"`histories` must be encoded with the oracle's vocabulary of "
                f"{len(self.vocabulary)} items. Received: item id {histories.item_ids.max()}"
            )
        scores = np.empty((len(histories), len(self.vocabulary)), "float32")
        step = max(1, min(1024, 2**22 // len(self.truth.items)))  # bounds the memory
        for start in range(0, len(histories), step):
            rows = np.arange(start, min(start + step, len(histories)))
            scores[rows] = self._probabilities(histories.take(rows))[:, self._indices]
        return scores

    def _probabilities(self, histories: Sessions) -> np.ndarray:
        """Shape `(len(histories), num_items)`, in the order of the simulation's items."""
        items = self._indices[histories.item_ids - 1]
        progress = SessionProgress.of(self.truth, histories, items)
        now, following, has_ended = self._beliefs(histories, progress)
        probabilities = np.zeros((len(histories), len(self.truth.items)), "float32")
        # With users, the next kept track may be one of the next session.
        for share, belief, some in (
            (1 - has_ended, now, progress),
            (has_ended, following, SessionProgress.none(self.truth, len(histories))),
        ):
            rows = np.flatnonzero(share)
            if len(rows):
                kept = self._next_kept(some.take(rows), belief[rows])
                probabilities[rows] += share[rows, np.newaxis].astype("float32") * kept
        return probabilities

    def _beliefs(
        self, histories: Sessions, progress: SessionProgress
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is believed of the current session of each row, of the next, and of its end.

        Returns:
            Two arrays of shape `(n, num_moods * num_tendencies)`: the probability of each mood
            with each tendency; and the probability `(n,)` that the current session has ended.
        """
        sessions = self.truth.sessions
        if histories.session_ids is None:
            self._check_keys(histories.keys, "session", len(sessions))
            return self._known(histories.keys), np.zeros((0, 0)), np.zeros(len(histories))
        first_sessions = self.truth.first_sessions
        self._check_keys(histories.keys, "user", len(first_sessions) - 1)
        first, end = (first_sessions[histories.keys + more] for more in (0, 1))
        newest = np.zeros(len(histories), int)
        np.maximum.at(newest, histories.rows(), histories.session_ids)
        if (wrong := first + newest >= end).any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"User {histories.keys[row]} has {end[row] - first[row]} sessions. "
                f"Received: session index {newest[row]}"
            )
        current = first + newest
        has_ended = progress.num_kept == sessions["num_kept"].to_numpy()[current]
        has_ended |= progress.heard.all(axis=1)
        is_last = current + 1 == end
        following = self._known(np.where(is_last, current, current + 1))
        following[is_last] = 0
        return self._known(current), following, has_ended.astype(float)

    def _known(self, sessions: np.ndarray) -> np.ndarray:
        rows = self.truth.sessions.iloc[sessions]
        belief = np.zeros((len(rows), len(self.truth.match) * len(self.truth.tendencies)))
        state = rows["mood"] * len(self.truth.tendencies) + rows["tendency"]
        belief[np.arange(len(rows)), state] = 1
        return belief

    def _next_kept(self, progress: SessionProgress, belief: np.ndarray) -> np.ndarray:
        """How likely each item is kept next: the mean over what is believed of the listener.

        In state s it is p(x) keep_s(x) / sum_y p(y) keep_s(y), with p(x) the same in all states.
        """
        truth, items = self.truth, np.arange(len(self.truth.items))
        step = max(1, 2**24 // len(items))  # bounds the memory
        played = truth.play_probability(progress.last_genre, progress.avoided, progress.heard)
        expected = np.zeros_like(played)
        for num_kept in np.unique(progress.num_kept):
            rows = np.flatnonzero(progress.num_kept == num_kept)
            states = np.flatnonzero(belief[rows].any(axis=0))
            for start in range(0, len(states), step):
                some = states[start : start + step]
                mood, tendency = np.divmod(some[:, np.newaxis], len(truth.tendencies))
                keep = truth.keep_probability(mood, tendency, num_kept, items)
                ends = np.maximum(played[rows] @ keep.T, np.float32(1e-30))
                expected[rows] += (belief[np.ix_(rows, some)] / ends).astype("float32") @ keep
        return played * expected

    def _check_keys(self, keys: np.ndarray, kind: str, number: int) -> None:
        is_id = keys.dtype.kind in "iu"
        wrong = (keys < 0) | (keys >= number) if is_id else np.ones(len(keys), bool)
        if wrong.any():
            received = keys[np.argmax(wrong)] if is_id else f"keys of dtype {keys.dtype}"
            raise ValueError(
                f"`histories.keys` must be {kind} ids of the simulation, 0 to {number - 1}. "
                f"Received: {received}"
            )
