"""The rankings that nobody, and no model, can beat on simulated sessions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_item_ids, check_ranking_weight
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.simulation.simulation_truth import SimulationTruth
from keras_negrec.data.vocabulary import Vocabulary


class _Progress(NamedTuple):
    """What the rules depend on, in the last session of each row."""

    num_kept: np.ndarray  # int (num_rows,), the tracks kept so far
    last_genre: np.ndarray  # int (num_rows,), the genre of the last kept track, -1 for none
    avoided: np.ndarray  # float32 (num_rows, num_genres), what is remembered of the skips
    heard: np.ndarray  # bool (num_rows, num_items), the tracks heard before the round


class Oracle:
    """Scores items by the exact probability that they are the next kept track.

    The oracle knows the rules, the items, and of each session the mood, the tendency and how
    many tracks it keeps. A model has only the history: `HistoryOracle` is what it could reach.

    A row may be a session, or, with `session_ids`, a user with all sessions up to now: where the
    last of them has come to its end, the next kept track is one of the next session. Histories
    must hold every event from the first of their session, or user, up to their end. Tracks that
    were heard before the current round get 0; one skipped since the last kept one may come back.

    Args:
        truth: `SimulationTruth` of the simulation.
        vocabulary: `Vocabulary` that the histories were encoded with, of its items alone.
        keep_weight: float of at least 0. How much it counts that a track is kept where it is
            played. Above 1 the scores are no probabilities any more: fewer skips are shown, for
            fewer hits. So the oracle has a curve of both, as a model with the keep term has.

    Example:

    >>> simulation = keras_negrec.data.simulate_sessions(num_sessions=20, num_items=50)
    >>> vocabulary = keras_negrec.data.Vocabulary(simulation.truth.items["item"])
    >>> history = keras_negrec.data.Sessions.from_lists([[3, 41, 7]], [[1, -1, 1]], keys=[2])
    >>> simulation.oracle(vocabulary).score(history).shape
    (1, 50)
    """

    def __init__(self, truth: SimulationTruth, vocabulary: Vocabulary, keep_weight: float = 1.0):
        self.truth = truth
        self.keep_weight = check_ranking_weight("keep_weight", keep_weight)
        self.num_items = len(vocabulary)
        self._indices = pd.Index(truth.items["item"]).get_indexer(vocabulary.items)
        for unknown in vocabulary.items[self._indices < 0].tolist()[:1]:
            raise ValueError(
                f"Only the simulation's items are known, such as {truth.items['item'].iloc[0]!r}. "
                f"Received a vocabulary with {unknown!r}"
            )

    def score(self, histories: Sessions) -> np.ndarray:
        """The probability of each item to be the next kept track.

        Args:
            histories: `Sessions` whose `keys` are session ids of the simulation, or user ids
                where they have `session_ids`; others are a ValueError.

        Returns:
            float32 `(len(histories), num_items)`; column `j` is the item of internal id `j + 1`. A
            row sums to 1 where `keep_weight` is 1 and the vocabulary holds all items that the
            session has not heard, and is 0 where nothing more is kept.
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

    def _progress(self, histories: Sessions) -> _Progress:
        truth, items = self.truth, self._indices[histories.item_ids - 1]
        session_of, session_rows, kept_before = _events_by_session(histories)
        is_current = (np.diff(session_rows, append=-1) != 0)[session_of]
        row, item, nth = histories.rows()[is_current], items[is_current], kept_before[is_current]
        is_kept, num_rows = histories.feedback[is_current] > 0, len(histories)
        num_kept = np.bincount(row[is_kept], minlength=num_rows)
        last_genre = np.full(num_rows, -1)
        last_genre[row[is_kept]] = truth.genre_of[item[is_kept]]  # of several, the last stays
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
        return _Progress(num_kept, last_genre, avoided.astype("float32"), heard)

    def _beliefs(
        self, histories: Sessions, progress: _Progress
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The probability of each mood with each tendency, now and in the next session of each row,
        both `(n, num_moods * num_tendencies)`, and `(n,)` that the current session has ended.
        """
        sessions, keys = self.truth.sessions, histories.keys
        kind, number = "session", len(sessions)
        if histories.session_ids is not None:
            kind, number = "user", len(self.truth.first_sessions) - 1
        wrong = keys[(keys < 0) | (keys >= number)] if keys.dtype.kind in "iu" else keys
        for key in wrong.tolist()[:1]:
            raise ValueError(
                f"`histories.keys` must be {kind} ids of the simulation, 0 to {number - 1}. "
                f"Received: {key!r}"
            )
        if histories.session_ids is None:
            return self._known(keys), self._known(keys), np.zeros(len(keys))
        first, end = (self.truth.first_sessions[keys + more] for more in (0, 1))
        current = first.copy()
        np.maximum.at(current, histories.rows(), first[histories.rows()] + histories.session_ids)
        for row in np.flatnonzero(current >= end)[:1]:
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
        states = np.eye(len(self.truth.match) * num_tendencies)
        return states[rows["mood"] * num_tendencies + rows["tendency"]]

    def _next_kept(self, progress: _Progress, belief: np.ndarray) -> np.ndarray:
        # In state s it is p(x) keep_s(x) / sum_y p(y) keep_s(y), with p(x) the same in all states.
        truth, items = self.truth, np.arange(len(self.truth.items))
        weight = truth.items["weight"].to_numpy()
        played = truth.genre_weights(progress.last_genre, progress.avoided)[:, truth.genre_of]
        played *= (weight / weight.max()).astype("float32")
        played[progress.heard] = 0
        played /= np.maximum(played.sum(axis=1, keepdims=True), np.float32(1e-30))
        expected = np.zeros_like(played)
        for num_kept in np.unique(progress.num_kept):
            rows = np.flatnonzero(progress.num_kept == num_kept)
            states = np.flatnonzero(belief[rows].any(axis=0))
            mood, tendency = np.divmod(states[:, np.newaxis], len(truth.tendencies))
            keep = truth.keep_probability(mood, tendency, num_kept, items)
            ends = np.maximum(played[rows] @ keep.T, np.float32(1e-30))
            expected[rows] += (belief[np.ix_(rows, states)] / ends).astype("float32") @ keep
        if self.keep_weight != 1:
            expected **= self.keep_weight
        return (played * expected)[:, self._indices]


class HistoryOracle(Oracle):
    """Scores items by the probability that they are the next kept track, given the history.

    This oracle knows the rules and the items as `Oracle` does, but nothing of a session beyond
    its history, and does not look at `keys`. What was kept, skipped, liked and disliked tells the
    mood and the tendency, by Bayes, exactly. With `session_ids` the earlier sessions of a user
    tell them too, and the current session may be over, as likely as the rules say (that a user has
    no further session is taken to be as likely after each). So this is the best that a model could
    reach, with any number of examples to learn from.

    Example: as for `Oracle`, with `simulation.history_oracle(vocabulary)`.
    """

    def _beliefs(
        self, histories: Sessions, progress: _Progress
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
        flat = (weights.reshape(len(now), -1) for weights in (now, following))
        now, following = (weights / weights.sum(axis=1, keepdims=True) for weights in flat)
        return now, following, self._end_probability(histories, progress)

    def _likelihood(self, histories: Sessions) -> tuple[np.ndarray, np.ndarray]:
        """Of each session's reactions `(num_sessions, num_moods, num_tendencies)`, and its row.

        What is played tells nothing of the listener that the reactions before it do not.
        """
        truth = self.truth
        session_of, session_rows, kept_before = _events_by_session(histories)
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

    def _end_probability(self, histories: Sessions, progress: _Progress) -> np.ndarray:
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


def _events_by_session(histories: Sessions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
