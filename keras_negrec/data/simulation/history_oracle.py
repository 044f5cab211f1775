"""The ranking that no model can beat on simulated sessions."""

from __future__ import annotations

import numpy as np

from keras_negrec.data.sessions import Sessions
from keras_negrec.data.simulation.oracle import Oracle
from keras_negrec.data.simulation.session_progress import SessionProgress


class HistoryOracle(Oracle):
    """Scores items by the probability that they are the next kept track, given the history.

    This oracle knows the rules and the items as `Oracle` does, but nothing of a session beyond
    its history. What the listener kept, skipped, liked and disliked tells the mood and the
    tendency, by Bayes, exactly: both are drawn from finite sets. With `session_ids` the earlier
    sessions of a user tell the home mood and the tendency, and the session that has kept so many
    tracks may be over, with the probability that the rules give it. So this is the best that a
    model could reach with any number of examples to learn from.

    It is exact where `Oracle` is. That a user may have no further session is taken as equally
    likely after each.

    Args:
        truth: `SimulationTruth` of the simulation.
        vocabulary: `Vocabulary` that the histories were encoded with.

    Raises:
        ValueError: the vocabulary holds an item that is not in the simulation.

    Example:

    >>> simulation = keras_negrec.data.simulate_sessions(num_sessions=20, num_items=50)
    >>> vocabulary = keras_negrec.data.Vocabulary(simulation.truth.items["item"])
    >>> history = keras_negrec.data.Sessions.from_lists([[3, 41, 7]], [[1, -1, 1]])
    >>> simulation.history_oracle(vocabulary).score(history).shape
    (1, 50)
    """

    def listener_probability(self, histories: Sessions) -> np.ndarray:
        """How likely each mood with each tendency is in the current session of each row.

        Returns:
            float64 array of shape `(len(histories), num_moods, num_tendencies)`.
        """
        items = self._indices[histories.item_ids - 1]
        progress = SessionProgress.of(self.truth, histories, items)
        now, _, _ = self._beliefs(histories, progress)
        return now.reshape(len(histories), len(self.truth.match), -1)

    def _beliefs(
        self, histories: Sessions, progress: SessionProgress
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        truth, num_rows = self.truth, len(histories)
        shape = (num_rows, len(truth.match), len(truth.tendencies))
        # The home mood and the tendency, from the sessions before the current one.
        likelihood = self._likelihood(progress)
        row, is_current = progress.session_rows, progress.is_current
        home = np.zeros(shape)
        past = np.flatnonzero(~is_current)
        np.add.at(home, row[past], np.log(self._with_moves(likelihood[past])))
        prior = self._with_moves(_normalized(np.exp(home - home.max(axis=(1, 2), keepdims=True))))
        now = np.ones(shape)
        now[row[is_current]] = likelihood[is_current]
        following = np.exp(home - home.max(axis=(1, 2), keepdims=True)) * self._with_moves(now)
        following = self._with_moves(_normalized(following))
        beliefs = [belief.reshape(num_rows, -1) for belief in (_normalized(prior * now), following)]
        has_ended = np.zeros(num_rows)
        if histories.session_ids is not None:
            has_ended = self._end_probability(progress)
        return beliefs[0], beliefs[1], has_ended

    def _likelihood(self, progress: SessionProgress) -> np.ndarray:
        """Of each session's reactions, up to a factor: `(num_sessions, num_moods, num_tendencies)`.

        What is played tells nothing of the listener that the history does not.
        """
        truth = self.truth
        mood, tendency = np.indices((len(truth.match), len(truth.tendencies)))
        kept, item, feedback = (
            values[:, np.newaxis, np.newaxis]
            for values in (progress.kept_before, progress.items, progress.feedback)
        )
        keep = truth.keep_probability(mood, tendency, kept, item)
        strong = truth.strong_probability(keep, feedback > 0)
        reaction = np.where(feedback > 0, keep, 1 - keep)
        reaction *= np.where(np.abs(feedback) == 2, strong, 1 - strong)
        first_events = np.flatnonzero(np.diff(progress.session_of, prepend=-1))
        logs = np.add.reduceat(np.log(reaction), first_events, dtype="float64")
        return np.exp(logs - logs.max(axis=(1, 2), keepdims=True))

    def _with_moves(self, moods: np.ndarray) -> np.ndarray:
        """From a session's mood to the home mood, or back: it is the same in `home_share`."""
        share = self.truth.home_share
        return share * moods + (1 - share) * moods.mean(axis=1, keepdims=True)

    def _end_probability(self, progress: SessionProgress) -> np.ndarray:
        """How likely the current session is over, where a further track is kept by the user."""
        fewest, most = self.truth.kept_range
        num_kept = progress.num_kept
        could_end = progress.ends_with_kept & (num_kept >= fewest)
        ends = could_end / np.maximum(1, most - num_kept + 1)
        ends[progress.heard.all(axis=1)] = 1
        num_sessions = len(self.truth.sessions)
        returns = ends * (1 - (len(self.truth.first_sessions) - 1) / num_sessions)
        return returns / np.maximum(returns + 1 - ends, 1e-30)


def _normalized(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(axis=(1, 2), keepdims=True)
