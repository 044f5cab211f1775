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
        self.weights, self.genre_of = truth.items["weight"].to_numpy(), truth.genre_of
        self.by_genre = np.argsort(truth.genre_of, kind="stable").astype("int32")
        self.cumulative = np.cumsum(self.weights[self.by_genre])
        ends = np.cumsum(np.bincount(truth.genre_of, minlength=len(truth.genres)))
        self.ends = np.append(0, self.cumulative)[ends]
        self.starts = np.append(0, self.ends[:-1])
        self.left = np.tile(self.ends - self.starts, (num_sessions, 1))
        # Distinct tracks as they were played: first those before the round, then those of it.
        self.played = np.full((num_sessions, 32), -1, "int32")
        self.num_played, self.num_heard = np.zeros((2, num_sessions), int)

    def draw(self, sessions: np.ndarray, genres: np.ndarray, random: np.random.Generator):
        """Plays a track of each genre, by popularity, to each of the sessions."""
        items, is_new = np.empty(len(sessions), "int32"), np.ones(len(sessions), bool)
        width = self.num_played.max() + 1
        if width > self.played.shape[1]:
            self.played = np.pad(self.played, ((0, 0), (0, 32)), constant_values=-1)
        waiting, num_tries = np.arange(len(sessions)), 0
        while len(waiting):
            session, genre = sessions[waiting], genres[waiting]
            if num_tries < 20:
                start, end = self.starts[genre], self.ends[genre]
                place = start + random.random(len(waiting)) * (end - start)
                nth = np.searchsorted(self.cumulative, np.minimum(place, end - 1), side="right")
                items[waiting] = self.by_genre[nth]
            else:  # hardly anything is left of these genres
                items[waiting] = [
                    self._draw_one(*pair, random) for pair in zip(session, genre, strict=True)
                ]
            is_played = self.played[session, :width] == items[waiting, np.newaxis]
            nth = is_played.argmax(axis=1)
            is_new[waiting] = ~is_played[np.arange(len(waiting)), nth]
            waiting = waiting[~is_new[waiting] & (nth < self.num_heard[session])]
            num_tries += 1
        new, item = sessions[is_new], items[is_new]
        self.played[new, self.num_played[new]] = item
        self.num_played[new] += 1
        self.left[new, self.genre_of[item]] -= self.weights[item]
        return items

    def _draw_one(self, session: int, genre: int, random: np.random.Generator) -> int:
        tracks = np.flatnonzero(self.genre_of == genre)
        tracks = np.setdiff1d(tracks, self.played[session, : self.num_heard[session]])
        return random.choice(tracks, p=self.weights[tracks] / self.weights[tracks].sum())

    def end_round(self, sessions: np.ndarray) -> None:
        """What was played to the sessions is not played again."""
        self.num_heard[sessions] = self.num_played[sessions]


def _draw(cumulative: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One column for each row, drawn in proportion to what it adds to the row's sum."""
    # The draw stays clear of the end, where rounding would lead past the last column.
    drawn = random.random(len(cumulative), "float32") * np.float32(1 - 1e-6)
    return (cumulative <= (drawn * cumulative[:, -1])[:, np.newaxis]).sum(axis=1)
