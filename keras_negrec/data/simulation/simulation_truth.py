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
    to the power of how many rounds ago. So the service sees what everyone sees, and no mood.

    **What is kept.** The listener of mood m keeps x with the probability

        keep(x) = 0.1 + 0.87 * sigmoid(match[m, g(x)] + appeal(x) + tendency
                                       - position_bias * 0.7 ** (tracks kept so far))

    With s the sigmoid, a share 0.15 * s of what is kept is liked, and a share 0.15 * (1 - s) of
    what is skipped is disliked. `keep` does not change within a round. So the track that ends it
    is x with a probability proportional to p(x) * keep(x), however many skips come before it.

    **Who listens.** A listener has a home mood and a tendency, and each session has a mood: the
    home mood in half of the sessions, and any of the moods in the others. All are drawn evenly
    from finite sets. How many tracks a session keeps is drawn evenly from `kept_range`. Without
    users, each session has a listener of its own.

    Args:
        items: DataFrame, a row for each track: `item`, `genre` (int), `weight` (whole numbers:
            popularity) and `appeal`, how much more readily than others of its genre it is kept.
        sessions: DataFrame, a row for each session, which are numbered from 0: `user`, `mood`,
            `tendency` and `num_kept`. Sessions of a user follow each other.
        genres: float32 array of shape `(num_genres, 8)`, rows of length 1: what each is like.
        flow: float32 array of shape `(num_genres + 1, num_genres)`: how readily the service plays
            each genre after each genre, and in the last row, 0, when nothing was kept yet.
        match: float32 array of shape `(num_moods, num_genres)`.
        tendencies: float32 array of shape `(num_tendencies,)`.
        kept_range: the fewest and the most tracks that a session keeps.
        avoidance: float. How far the service turns away from what was skipped.
        position_bias: float. How much less is kept when a session begins.

    Example:

    >>> truth = keras_negrec.data.simulate_sessions(num_sessions=20, num_items=50).truth
    >>> session = truth.sessions.iloc[3]
    >>> truth.keep_probability(session.mood, session.tendency, 0, np.arange(50)).shape
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
    settling: ClassVar[float] = 0.7
    home_share: ClassVar[float] = 0.5
    strong_share: ClassVar[float] = 0.15

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
        """How likely a track is kept where it is played: float32.

        Args:
            mood, tendency: int or int array, which of the moods and of the tendencies.
            num_kept: int or int array, how many tracks the session has kept before.
            item: int or int array, index of the track. All four broadcast.
        """
        bias = np.float32(self.position_bias) * np.float32(self.settling) ** num_kept
        listener = self.tendencies[tendency] - bias
        appeal = self.items["appeal"].to_numpy()[item]
        logit = self.match[mood, self.genre_of[item]] + appeal + listener
        return np.float32(0.1) + np.float32(0.87) / (1 + np.exp(np.minimum(-logit, 30)))

    def strong_probability(self, keep: np.ndarray, is_kept: np.ndarray) -> np.ndarray:
        """How likely a kept track is liked, or a skipped one disliked, from `keep_probability`."""
        s = np.clip((keep - np.float32(0.1)) / np.float32(0.87), 1e-6, 1 - 1e-6)
        return np.float32(self.strong_share) * np.where(is_kept, s, 1 - s)

    def genre_weights(self, last_genre: np.ndarray, avoided: np.ndarray) -> np.ndarray:
        """How readily the service plays each genre now: float32 `(n, num_genres)`, at most 1.

        Args:
            last_genre: int array `(n,)`, the genre of the last kept track, -1 for none.
            avoided: float32 array `(n, num_genres)`.
        """
        logits = self.flow[last_genre] - np.float32(self.avoidance) * avoided
        return np.exp(logits - logits.max(axis=1, keepdims=True))

    def play_probability(
        self, last_genre: np.ndarray, avoided: np.ndarray, heard: np.ndarray
    ) -> np.ndarray:
        """How likely each track is played next: float32 `(n, num_items)`.

        Args:
            last_genre, avoided: as `genre_weights` takes them.
            heard: bool array `(n, num_items)`, the tracks heard before the round, which get 0.
        """
        weight = self.items["weight"].to_numpy()
        played = self.genre_weights(last_genre, avoided)[:, self.genre_of]
        played *= (weight / weight.max()).astype("float32")
        played[heard] = 0
        return played / np.maximum(played.sum(axis=1, keepdims=True), np.float32(1e-30))
