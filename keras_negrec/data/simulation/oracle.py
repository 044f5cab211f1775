"""The ranking that nobody can beat on simulated sessions."""

from __future__ import annotations

import numpy as np

from keras_negrec.data.sessions import Sessions
from keras_negrec.data.simulation.hidden_truth import HiddenTruth
from keras_negrec.data.vocabulary import Vocabulary


class Oracle:
    """Scores items by the exact probability that they are the next kept track.

    The oracle knows the mood of each session and the rules it was drawn by. A model has only
    the history, so that it cannot be expected to reach the oracle, only to come near it.

    The probabilities are exact for histories that start where their session started, hold every
    event up to their end and end anywhere. Tracks that were heard before the current round get
    0; a track skipped since the last kept one can still come back in the same round.

    Args:
        truth: `HiddenTruth` of the simulation.
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

    def __init__(self, truth: HiddenTruth, vocabulary: Vocabulary):
        self.truth = truth
        self.vocabulary = vocabulary
        self.num_items = len(vocabulary)
        self._indices = truth.indices_of(vocabulary)

    def score(self, histories: Sessions) -> np.ndarray:
        """The probability of each item to be the next kept track.

        Args:
            histories: `Sessions` whose `keys` are session ids of the simulation.

        Returns:
            float32 array of shape `(len(histories), len(vocabulary))`; column `j` is the item
            of internal id `j + 1`. A row sums to 1 where the vocabulary holds all items that
            the session has not heard.

        Raises:
            ValueError: a key that is no session of the simulation, or an id beyond the
                vocabulary.
        """
        self._check(histories)
        num_items = len(self.truth.items)
        scores = np.empty((len(histories), len(self.vocabulary)), "float32")
        step = max(1, 2**22 // num_items)  # bounds the memory at about 100 MB
        for start in range(0, len(histories), step):
            rows = np.arange(start, min(start + step, len(histories)))
            scores[rows] = self._probabilities(histories.take(rows))[:, self._indices]
        return scores

    def _probabilities(self, histories: Sessions) -> np.ndarray:
        """Shape `(len(histories), num_items)`, in the order of the simulation's items."""
        truth = self.truth
        items = self._indices[histories.item_ids - 1]
        rows = histories.rows()
        kept = histories.feedback > 0
        # Rounds are numbered from 0 in each history; the last kept track closes a round.
        num_kept = np.bincount(rows[kept], minlength=len(histories))
        kept_before: np.ndarray = np.cumsum(kept) - kept
        rounds = kept_before - np.repeat(np.cumsum(num_kept) - num_kept, histories.lengths)
        closed = rounds < num_kept[rows]

        last_kept = np.full(len(histories), -1)
        is_last = kept & (rounds == num_kept[rows] - 1)
        last_kept[rows[is_last]] = items[is_last]

        heard = np.zeros((len(histories), len(truth.items)), bool)
        heard[rows[closed], items[closed]] = True

        skipped = closed & (histories.feedback < 0)
        row, nth, item = rows[skipped], rounds[skipped], items[skipped]
        num_skips = np.zeros((len(histories), num_kept.max(initial=0)), int)
        np.add.at(num_skips, (row, nth), 1)
        weights = truth.memory ** (num_kept[row] - 1 - nth) / num_skips[row, nth]
        avoided = np.zeros((len(histories), truth.vectors.shape[1]), "float32")
        np.add.at(avoided, row, weights[:, None] * truth.vectors[item])

        probabilities = np.zeros(heard.shape, "float32")
        left = np.flatnonzero(~heard.all(axis=1))
        sessions = histories.keys[left]
        weights = truth.presentation_weights(
            sessions, last_kept[left], avoided[left], heard[left]
        ) * self._keep_probability(sessions, num_kept[left])
        probabilities[left] = weights / weights.sum(axis=1, keepdims=True)
        return probabilities

    def _keep_probability(self, sessions: np.ndarray, num_kept: np.ndarray) -> np.ndarray:
        """How likely each item would be kept by a session that has kept so many."""
        return self.truth.keep_probability(sessions)

    @property
    def _num_sessions(self) -> int:
        return len(self.truth.moods)

    def _check(self, histories: Sessions) -> None:
        self._check_keys(histories.keys, "session", self._num_sessions)
        if histories.item_ids.max(initial=0) > len(self.vocabulary):
            raise ValueError(
                f"`histories` must be encoded with the oracle's vocabulary of "
                f"{len(self.vocabulary)} items. Received: item id {histories.item_ids.max()}"
            )

    def _check_keys(self, keys: np.ndarray, kind: str, number: int) -> None:
        if keys.dtype.kind not in "iu":
            raise ValueError(
                f"`histories.keys` must be {kind} ids, 0 to {number - 1}. Received keys of "
                f"dtype {keys.dtype}: {keys[:3]}"
            )
        wrong = (keys < 0) | (keys >= number)
        if wrong.any():
            raise ValueError(
                f"`histories.keys` must be {kind} ids, 0 to {number - 1}. "
                f"Received: {keys[np.argmax(wrong)]}"
            )
