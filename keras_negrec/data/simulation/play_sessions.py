"""The events of many simulated sessions at once, track by track."""

from __future__ import annotations

import numpy as np

from keras_negrec.data.simulation.simulation_truth import SimulationTruth


def play_sessions(
    truth: SimulationTruth, first: int, end: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All events of the sessions `first` up to `end`, session by session and in order.

    One step plays one track to each session that goes on: first its genre is drawn, then a track
    of the genre, so that the cost does not depend on the size of the catalogue.

    Returns:
        Session (counted from `first`), item index, and feedback of each event.
    """
    mood, tendency, goal = (
        truth.sessions[name].to_numpy()[first:end] for name in ("mood", "tendency", "num_kept")
    )
    num_kept = np.zeros(len(goal), int)
    last_genre = np.full(len(goal), -1)
    catalogue = _Catalogue(truth, len(goal))
    avoided, skipped, genres = np.zeros((3, *catalogue.left.shape), "float32")
    num_skips = np.zeros(len(goal), int)
    sessions, items, feedback = [], [], []

    going = begin = np.arange(len(goal))
    while len(going):
        # A round begins in these sessions: what the others may be played is as it was.
        weights = truth.genre_weights(last_genre[begin], avoided[begin]) * catalogue.left[begin]
        genres[begin] = np.cumsum(weights, axis=1)

        genre = _draw(genres[going], random)
        item = catalogue.draw(going, genre, random)
        keep = truth.keep_probability(mood[going], tendency[going], num_kept[going], item)
        coins = random.random((2, len(going)), "float32")
        is_kept = coins[0] < keep
        is_strong = coins[1] < truth.strong_probability(keep, is_kept)
        sessions.append(going)
        items.append(item)
        feedback.append((np.where(is_kept, 1, -1) * (1 + is_strong)).astype("int8"))

        skips, skip_genre = going[~is_kept], genre[~is_kept]
        skipped[skips] += truth.likeness[skip_genre]
        num_skips[skips] += 1
        ended = going[is_kept]
        catalogue.end_round(ended)
        num_kept[ended] += 1
        last_genre[ended] = genre[is_kept]
        mean = skipped[ended] / np.maximum(num_skips[ended], 1)[:, np.newaxis]
        avoided[ended] = np.float32(truth.memory) * avoided[ended] + mean
        skipped[ended], num_skips[ended] = 0, 0
        is_over = (num_kept == goal) | (catalogue.num_heard == len(truth.items))
        going, begin = going[~is_over[going]], ended[~is_over[ended]]
    session = np.concatenate(sessions)
    in_order = np.argsort(session, kind="stable")  # a session's events were added in order
    return session[in_order], np.concatenate(items)[in_order], np.concatenate(feedback)[in_order]


class _Catalogue:
    """Draws tracks of a genre that a session did not hear before the round.

    Weights are whole numbers, so that what is left of a genre stays exact, and is 0 when all its
    tracks were heard.
    """

    def __init__(self, truth: SimulationTruth, num_sessions: int):
        self.weights = truth.items["weight"].to_numpy()
        self.genre_of = truth.genre_of
        self.by_genre = np.argsort(truth.genre_of, kind="stable")
        self.cumulative = np.cumsum(self.weights[self.by_genre])
        ends = np.cumsum(np.bincount(truth.genre_of, minlength=len(truth.likeness)))
        self.ends = np.append(0, self.cumulative)[ends]
        self.starts = np.append(0, self.ends[:-1])
        self.left = np.tile(self.ends - self.starts, (num_sessions, 1))
        # Distinct tracks in the order they were played: `num_heard` before the round, then those
        # of the round.
        self.played = np.full((num_sessions, 32), -1, "int32")
        self.num_heard = np.zeros(num_sessions, int)
        self.num_played = np.zeros(num_sessions, int)

    def draw(self, sessions: np.ndarray, genres: np.ndarray, random: np.random.Generator):
        """Plays a track of each genre, by popularity, to each of the sessions."""
        items = np.empty(len(sessions), "int32")
        is_new = np.ones(len(sessions), bool)
        waiting = np.arange(len(sessions))
        width = max(1, self.num_played.max())
        for _ in range(20):
            start, end = self.starts[genres[waiting]], self.ends[genres[waiting]]
            place = start + random.random(len(waiting)) * (end - start)
            nth = np.searchsorted(self.cumulative, np.minimum(place, end - 1), side="right")
            items[waiting] = self.by_genre[nth]
            is_played = self.played[sessions[waiting], :width] == items[waiting, np.newaxis]
            where = is_played.argmax(axis=1)
            again = is_played[np.arange(len(waiting)), where]
            is_new[waiting] = ~again
            waiting = waiting[again & (where < self.num_heard[sessions[waiting]])]
            if len(waiting) == 0:
                break
        for place in waiting:  # hardly anything is left of the genre
            session = sessions[place]
            tracks = np.flatnonzero(self.genre_of == genres[place])
            tracks = np.setdiff1d(tracks, self.played[session, : self.num_heard[session]])
            weights = self.weights[tracks]
            items[place] = random.choice(tracks, p=weights / weights.sum())
            is_new[place] = items[place] not in self.played[session, : self.num_played[session]]
        self._remember(sessions[is_new], items[is_new])
        return items

    def _remember(self, sessions: np.ndarray, items: np.ndarray) -> None:
        if self.num_played.max() == self.played.shape[1]:
            self.played = np.pad(self.played, ((0, 0), (0, 32)), constant_values=-1)
        self.played[sessions, self.num_played[sessions]] = items
        self.num_played[sessions] += 1
        self.left[sessions, self.genre_of[items]] -= self.weights[items]

    def end_round(self, sessions: np.ndarray) -> None:
        """What was played to the sessions is not played again."""
        self.num_heard[sessions] = self.num_played[sessions]


def _draw(cumulative: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One column for each row, drawn in proportion to what it adds to the row's sum."""
    # The draw stays clear of the end, where rounding would lead past the last column.
    drawn = random.random(len(cumulative), "float32") * np.float32(1 - 1e-6)
    return (cumulative <= (drawn * cumulative[:, -1])[:, np.newaxis]).sum(axis=1)
