"""The ranking that no model can beat on simulated sessions."""

from __future__ import annotations

import numpy as np

from keras_negrec.data.sessions import Sessions
from keras_negrec.data.simulation.oracle import Oracle
from keras_negrec.data.simulation.session_progress import SessionProgress, events_by_session


class HistoryOracle(Oracle):
    """Scores items by the probability that they are the next kept track, given the history.

    This oracle knows the rules and the items as `Oracle` does, but nothing of a session beyond
    its history. What the listener kept, skipped, liked and disliked tells the mood and the
    tendency, by Bayes, exactly: both are drawn from finite sets. With `session_ids` the earlier
    sessions of a user tell the home mood and the tendency, and the current session may be over,
    as likely as the rules say. So this is the best that a model could reach, with any number of
    examples to learn from.

    It is exact where `Oracle` is, and does not look at `keys`. That a user has no further session
    is taken to be as likely after each.

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

    def _beliefs(
        self, histories: Sessions, progress: SessionProgress
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        likelihood, row = self._likelihood(histories)
        is_current = np.diff(row, append=-1) != 0
        now = np.ones((len(histories), *likelihood.shape[1:]))
        now[row[is_current]] = likelihood[is_current]
        # The home mood and the tendency, from the sessions before the current one.
        past = self._with_moves(likelihood[~is_current])
        logs = np.zeros(now.shape)
        np.add.at(logs, row[~is_current], np.log(np.maximum(past, 1e-300)))
        home = np.exp(logs - logs.max(axis=(1, 2), keepdims=True))
        following = self._with_moves(home * self._with_moves(now))
        now *= self._with_moves(home)
        return _normalized(now), _normalized(following), self._end_probability(histories, progress)

    def _likelihood(self, histories: Sessions) -> tuple[np.ndarray, np.ndarray]:
        """Of each session's reactions, up to a factor, and the row of each session.

        What is played tells nothing of the listener that the reactions before it do not.

        Returns:
            Arrays of shape `(num_sessions, num_moods, num_tendencies)` and `(num_sessions,)`.
        """
        truth = self.truth
        session_of, session_rows, kept_before = events_by_session(histories)
        mood, tendency = np.indices((len(truth.match), len(truth.tendencies)))
        item, feedback, num_kept = (
            values[:, np.newaxis, np.newaxis]
            for values in (self._indices[histories.item_ids - 1], histories.feedback, kept_before)
        )
        keep = truth.keep_probability(mood, tendency, num_kept, item)
        strong = truth.strong_probability(keep, feedback > 0)
        reaction = np.where(feedback > 0, keep, 1 - keep)
        reaction *= np.where(np.abs(feedback) == 2, strong, 1 - strong)
        first_events = np.flatnonzero(np.diff(session_of, prepend=-1))
        logs = np.add.reduceat(np.log(reaction), first_events, dtype="float64")
        return np.exp(logs - logs.max(axis=(1, 2), keepdims=True)), session_rows

    def _with_moves(self, moods: np.ndarray) -> np.ndarray:
        """From a session's mood to the home mood, or back: it is the same in `home_share`."""
        share = self.truth.home_share
        return share * moods + (1 - share) * moods.mean(axis=1, keepdims=True)

    def _end_probability(self, histories: Sessions, progress: SessionProgress) -> np.ndarray:
        """How likely the current session is over, where a further track is kept by the user."""
        if histories.session_ids is None:
            return np.zeros(len(histories))
        fewest, most = self.truth.kept_range
        newest = np.append(0, histories.feedback)[histories.row_splits[1:]]
        could_end = (newest > 0) & (histories.lengths > 0) & (progress.num_kept >= fewest)
        ends = could_end / np.maximum(1, most - progress.num_kept + 1)
        ends[progress.heard.all(axis=1)] = 1
        num_users = len(self.truth.first_sessions) - 1
        returns = ends * (1 - num_users / len(self.truth.sessions))
        return returns / np.maximum(returns + 1 - ends, 1e-30)


def _normalized(weights: np.ndarray) -> np.ndarray:
    flat = weights.reshape(len(weights), -1)
    return flat / flat.sum(axis=1, keepdims=True)
