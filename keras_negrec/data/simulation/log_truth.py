"""What a large simulated log was drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_negrec.data.simulation.indices_of import indices_of
from keras_negrec.data.vocabulary import Vocabulary

LATENT_DIM = 8
_NUM_TASTES = 12
_SESSIONS_IN_CHUNK = 16_384
_LIKED, _DISLIKED = 2.0, -1.25  # matches, in units of `mood_strength`, of strong feedback


@dataclass(frozen=True, eq=False)
class LogTruth:
    """The tracks, the genres, the users' moods and the rules behind a `SimulatedLog`.

    A session is a series of rounds. A round ends with the track that is kept; the tracks before
    it are skipped. Within a round each presentation is drawn anew from the same distribution
    over the tracks that the session has not heard before the round,

        log p(x) = log weight(x) + <successor(h) + insight * mood - avoidance * avoided, g(x)>
                   + const

    with g(x) the vector of x's genre, h the genre of the last kept track, and `avoided` what the
    service remembers of the session's skips: the mean genre vector of each earlier round's skips,
    weighted by `memory` to the power of how many rounds ago. The listener keeps x with a
    probability between 0.1 and 0.97, which rises with

        <mood, g(x)> + patience - position_bias * settling ** (tracks kept so far)

    so that sessions begin with more skips than they end with. Within a round this probability
    does not change, so that the track that ends the round is x with probability proportional to
    p(x) * keep(x), however many skips come before it. How many tracks a session keeps is drawn
    beforehand.

    What tells sessions apart (mood, patience, number of kept tracks) is drawn again from the
    seed whenever it is asked for, some thousand sessions at a time, and never stored.

    Args:
        items: object array of shape `(num_items,)`, the tracks' names.
        weights: float64 array of shape `(num_items,)` of whole numbers: popularity.
        genre_of: int array of shape `(num_items,)`.
        genres: float32 array of shape `(num_genres, 8)`, rows of length 1.
        successors: float32 array of shape `(num_genres, 8)`: where the tracks lie that the
            service plays after each genre.
        first_sessions: int64 array of shape `(num_users + 1,)`: the sessions of user `u` are
            `first_sessions[u]` up to but not including `first_sessions[u + 1]`.
        mean_kept: float. Mean number of tracks that a session keeps.
        mood_strength: float. How strongly the match decides between keep and skip.
        patience: float. The mean over sessions.
        position_bias: float. How much less patient a session begins.
        avoidance: float. How far the service turns away from what was skipped.
        seed: int.

    Example:

    >>> log = keras_negrec.data.simulate_log(num_users=20, num_items=1000)
    >>> log.truth.keep_probability(np.array([3, 4]), np.array([0, 5])).shape
    (2, 1000)
    """

    items: np.ndarray
    weights: np.ndarray
    genre_of: np.ndarray
    genres: np.ndarray
    successors: np.ndarray
    first_sessions: np.ndarray
    mean_kept: float
    mood_strength: float
    patience: float
    position_bias: float
    avoidance: float
    seed: int
    insight: float = 0.2
    memory: float = 0.8
    settling: float = 0.7

    @property
    def num_sessions(self) -> int:
        return int(self.first_sessions[-1])

    @property
    def vectors(self) -> np.ndarray:
        """The vector of each track's genre: float32 `(num_items, 8)`."""
        return self.genres[self.genre_of]

    def indices_of(self, vocabulary: Vocabulary) -> np.ndarray:
        """Where the vocabulary's items stand among the simulation's.

        Raises:
            ValueError: the vocabulary holds an item that is not in the simulation.
        """
        return indices_of(vocabulary, self.items)

    def chunks(self) -> list[tuple[int, int]]:
        """Ranges of users whose sessions are drawn together: first user, and one past the last."""
        chunk_of = self.first_sessions[:-1] // _SESSIONS_IN_CHUNK
        starts = np.flatnonzero(np.diff(chunk_of, prepend=-1))
        ends = [*starts[1:].tolist(), len(chunk_of)]
        return list(zip(starts.tolist(), ends, strict=True))

    def chunk_state(self, first_user: int, end_user: int) -> SessionStates:
        """What tells apart the sessions of one of the `chunks`."""
        random = np.random.default_rng([self.seed, 1, first_user])
        first_sessions = self.first_sessions[first_user : end_user + 1]
        users = np.repeat(np.arange(end_user - first_user), np.diff(first_sessions))
        tastes = np.random.default_rng([self.seed, 2]).normal(size=(_NUM_TASTES, LATENT_DIM))
        num_users, num_sessions = end_user - first_user, len(users)
        own = random.normal(size=(num_users, LATENT_DIM))
        wishes = 0.3**0.5 * tastes[random.integers(_NUM_TASTES, size=num_users)] + 0.3**0.5 * own
        moods = wishes[users] + 0.4**0.5 * random.normal(size=(num_sessions, LATENT_DIM))
        patience = 0.5 * random.normal(size=num_users)[users]
        patience += self.patience + 1.0 * random.normal(size=num_sessions)
        spread = 0.6  # of the logarithm: a long tail of long sessions
        num_kept = self.mean_kept * np.exp(
            spread * random.normal(size=num_sessions) - spread**2 / 2
        )
        return SessionStates(
            first=int(first_sessions[0]),
            moods=(self.mood_strength * moods).astype("float32"),
            patience=patience.astype("float32"),
            num_kept=np.clip(np.rint(num_kept), 1, 20 * self.mean_kept).astype(int),
        )

    def states(self, sessions: np.ndarray) -> SessionStates:
        """What tells apart the given sessions, in the given order."""
        sessions = np.asarray(sessions)
        moods = np.empty((len(sessions), LATENT_DIM), "float32")
        patience = np.empty(len(sessions), "float32")
        num_kept = np.empty(len(sessions), int)
        for first_user, end_user in self.chunks():
            start, end = self.first_sessions[[first_user, end_user]]
            rows = np.flatnonzero((sessions >= start) & (sessions < end))
            if len(rows):
                chunk, places = self.chunk_state(first_user, end_user), sessions[rows] - start
                moods[rows] = chunk.moods[places]
                patience[rows] = chunk.patience[places]
                num_kept[rows] = chunk.num_kept[places]
        return SessionStates(first=-1, moods=moods, patience=patience, num_kept=num_kept)

    def reluctance(self, num_kept) -> np.ndarray:
        """How much less patient a listener is who has kept that many tracks."""
        return self.position_bias * self.settling ** np.asarray(num_kept, "float32")

    def keep_probability(self, sessions: np.ndarray, num_kept: np.ndarray) -> np.ndarray:
        """How likely each track would be kept: float32 `(len(sessions), num_items)`.

        Args:
            sessions: int array of shape `(n,)`.
            num_kept: int array of shape `(n,)`, how many tracks they have kept so far.
        """
        state = self.states(sessions)
        patience = state.patience - self.reluctance(num_kept)
        match = state.moods @ self.genres.T
        return keep_probability(np.exp(-(match + patience[:, np.newaxis])))[:, self.genre_of]

    def presentation_weights(
        self,
        sessions: np.ndarray,
        last_kept: np.ndarray,
        avoided: np.ndarray,
        heard: np.ndarray,
    ) -> np.ndarray:
        """How likely each track is presented in the current round, up to a factor for each row.

        Args:
            sessions: int array of shape `(n,)`. Each must have a track that was not heard.
            last_kept: int array of shape `(n,)`, index of the last kept track, -1 for none.
            avoided: float array of shape `(n, 8)`.
            heard: bool array of shape `(n, num_items)`: the tracks heard before the round.

        Returns:
            float32 array of shape `(n, num_items)`, 0 where heard.
        """
        wanted = np.where(
            last_kept[:, np.newaxis] >= 0, self.successors[self.genre_of[last_kept]], 0
        )
        wanted = wanted + self.insight * self.states(sessions).moods - self.avoidance * avoided
        logits = np.log(self.weights) + (wanted.astype("float32") @ self.genres.T)[:, self.genre_of]
        logits[heard] = -np.inf
        return np.exp(logits - logits.max(axis=1, keepdims=True)).astype("float32")

    def is_strong(self, match: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Whether a match is so good, or so bad, that it is liked, or disliked."""
        limits = self.mood_strength * np.array([_DISLIKED, _LIKED])
        return np.where(kept, match > limits[1], match < limits[0])

    def __repr__(self) -> str:
        return (
            f"<LogTruth of {len(self.items)} items, {len(self.first_sessions) - 1} users and "
            f"{self.num_sessions} sessions>"
        )


@dataclass(frozen=True, eq=False)
class SessionStates:
    """What tells sessions apart.

    Args:
        first: int. The id of the first, where they follow each other.
        moods: float32 array of shape `(n, 8)`.
        patience: float32 array of shape `(n,)`.
        num_kept: int array of shape `(n,)`, how many tracks each session keeps.
    """

    first: int
    moods: np.ndarray
    patience: np.ndarray
    num_kept: np.ndarray


def keep_probability(odds_against: np.ndarray) -> np.ndarray:
    """From the odds of a skip; nobody listens closely all the time, so neither is certain."""
    return np.float32(0.1) + np.float32(0.87) / (1 + odds_against)
