"""What simulated events are drawn from, and the events do not tell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class SimulationTruth:
    """The tracks, the listeners and the rules behind a `Simulation`.

    **What is played.** A session is a series of rounds. A round ends with the track that is kept;
    the tracks before it are skipped. Each track of a round is drawn anew from the same
    distribution over the tracks that the session did not hear before the round,

        log p(x) = log weight(x) + flow[g(h), g(x)] - avoidance * avoided[g(x)] + const

    with g(x) the genre of x, h the last kept track, and `avoided` what the service remembers of
    the skips: how like each genre is, in the mean, to the skips of each earlier round, times 0.8
    to the power of how many rounds ago.

    **What is kept.** The listener of mood m keeps x with the probability

        keep(x) = 0.1 + 0.87 * sigmoid(match[m, g(x)] + appeal(x) + tendency
                                       - position_bias * 0.7 ** (tracks kept so far))

    With s the sigmoid, a share 0.15 * s of what is kept is liked, and a share 0.15 * (1 - s) of
    what is skipped is disliked. `keep` does not change within a round. So the track that ends it
    is x with a probability proportional to p(x) * keep(x), however many skips come before it.

    **Who listens.** A listener has a home mood and a tendency, and each session has a mood: the
    home mood in half of the sessions, and any of the moods in the others. All are drawn evenly, as
    is how many tracks a session keeps. Without users, each session has a listener of its own.

    Args:
        items: DataFrame, a row for each track: `item`, `genre` (int), `weight` (whole numbers:
            popularity) and `appeal`, how much more readily than others of its genre it is kept.
        sessions: DataFrame, a row for each session, which are numbered from 0: `user`, `mood`,
            `tendency` and `num_kept`. Sessions of a user follow each other.
        genres: float32 array of shape `(num_genres, 8)`, rows of length 1: what each is like.
        flow: float32 array of shape `(num_genres + 1, num_genres)`: of each genre after each genre,
            and in the last row, 0, when nothing was kept yet.
        match, tendencies: float32 arrays of shape `(num_moods, num_genres)`, `(num_tendencies,)`.
        kept_range: the fewest and the most tracks that a session keeps.
        avoidance, position_bias: floats, as `simulate_sessions` takes them.

    Example:

    >>> truth = keras_negrec.data.simulate_sessions(num_sessions=20, num_items=50).truth
    >>> truth.keep_probability(mood=0, tendency=1, num_kept=0, item=np.arange(50)).shape
    (50,)
    """

    items: pd.DataFrame
    sessions: pd.DataFrame
    genres: np.ndarray
    flow: np.ndarray
    match: np.ndarray
    tendencies: np.ndarray
    kept_range: tuple[int, int]
    avoidance: float
    position_bias: float

    memory: ClassVar[float] = 0.8
    home_share: ClassVar[float] = 0.5

    @cached_property
    def genre_of(self) -> np.ndarray:
        """The genre of each track: int array `(num_items,)`."""
        return self.items["genre"].to_numpy()

    @cached_property
    def likeness(self) -> np.ndarray:
        """How like genres are to each other, -1 to 1: float32 `(num_genres, num_genres)`."""
        return self.genres @ self.genres.T

    @cached_property
    def first_sessions(self) -> np.ndarray:
        """The sessions of user `u` are `first_sessions[u]` up to `first_sessions[u + 1]`."""
        return np.append(0, np.cumsum(np.bincount(self.sessions["user"])))

    def keep_probability(self, mood, tendency, num_kept, item) -> np.ndarray:
        """How likely a track is kept where it is played, after `num_kept` others: float32.

        The arguments are ints or int arrays that broadcast; of mood, tendency and item the index.
        """
        bias = np.float32(self.position_bias) * np.float32(0.7) ** num_kept
        listener = self.tendencies[tendency] - bias
        appeal = self.items["appeal"].to_numpy()[item]
        logit = self.match[mood, self.genre_of[item]] + appeal + listener
        return np.float32(0.1) + np.float32(0.87) / (1 + np.exp(np.minimum(-logit, 30)))

    def strong_probability(self, keep: np.ndarray, is_kept: np.ndarray) -> np.ndarray:
        """How likely a kept track is liked, or a skipped one disliked, from `keep_probability`."""
        s = np.clip((keep - np.float32(0.1)) / np.float32(0.87), 1e-6, 1 - 1e-6)
        return np.float32(0.15) * np.where(is_kept, s, 1 - s)

    def genre_weights(self, last_genre: np.ndarray, avoided: np.ndarray) -> np.ndarray:
        """How readily the service plays each genre now: float32 `(n, num_genres)`, at most 1."""
        logits = self.flow[last_genre] - np.float32(self.avoidance) * avoided
        return np.exp(logits - logits.max(axis=1, keepdims=True))


def play_sessions(
    truth: SimulationTruth, first: int, end: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Session (counted from `first`), item index and feedback of all events up to session `end`.

    One step plays one track to each session that goes on: first its genre is drawn, then a track
    of the genre, so that the cost does not depend on the size of the catalogue.
    """
    mood, tendency, goal = (
        truth.sessions[name].to_numpy()[first:end] for name in ("mood", "tendency", "num_kept")
    )
    catalogue = _Catalogue(truth, len(goal))
    last_genre = np.full(len(goal), -1)
    avoided, skipped, genres = np.zeros((3, *catalogue.left.shape), "float32")
    num_kept, num_skips = np.zeros((2, len(goal)), int)
    events = []

    going = begin = np.arange(len(goal))
    while len(going):
        # A round begins in these sessions: what the others may be played is as it was.
        weights = truth.genre_weights(last_genre[begin], avoided[begin]) * catalogue.left[begin]
        genres[begin] = np.cumsum(weights, axis=1)

        # The draw stays clear of the end, where rounding would lead past the last column.
        drawn = random.random(len(going), "float32") * np.float32(1 - 1e-6)
        genre = (genres[going] <= (drawn * genres[going, -1])[:, np.newaxis]).sum(axis=1)
        item = catalogue.draw(going, genre, random)
        keep = truth.keep_probability(mood[going], tendency[going], num_kept[going], item)
        coins = random.random((2, len(going)), "float32")
        is_kept = coins[0] < keep
        is_strong = coins[1] < truth.strong_probability(keep, is_kept)
        feedback = np.where(is_kept, 1, -1) * (1 + is_strong)
        events.append((going, item, feedback.astype("int8")))

        skipped[going[~is_kept]] += truth.likeness[genre[~is_kept]]
        num_skips[going[~is_kept]] += 1
        ended = going[is_kept]
        catalogue.num_heard[ended] = catalogue.num_played[ended]
        num_kept[ended] += 1
        last_genre[ended] = genre[is_kept]
        mean = skipped[ended] / np.maximum(num_skips[ended], 1)[:, np.newaxis]
        avoided[ended] = np.float32(truth.memory) * avoided[ended] + mean
        skipped[ended], num_skips[ended] = 0, 0
        is_over = (num_kept == goal) | (catalogue.num_heard == len(truth.items))
        going, begin = going[~is_over[going]], ended[~is_over[ended]]
    session, item, feedback = map(np.concatenate, zip(*events, strict=True))
    in_order = np.argsort(session, kind="stable")  # a session's events were added in order
    return session[in_order], item[in_order], feedback[in_order]


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
                for event in waiting:
                    tracks = np.flatnonzero(self.genre_of == genres[event])
                    heard = self.played[sessions[event], : self.num_heard[sessions[event]]]
                    tracks = np.setdiff1d(tracks, heard)
                    weights = self.weights[tracks]
                    items[event] = random.choice(tracks, p=weights / weights.sum())
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
