"""What a simulated listening service and its listeners go by, and the logs do not tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_negrec.data.simulation.indices_of import indices_of
from keras_negrec.data.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class HiddenTruth:
    """The tracks, the sessions' moods and the rules behind a `Simulation`.

    A session is a series of rounds. A round ends with the track that is kept; the tracks before
    it are skipped. Within a round each presentation is drawn anew from the same distribution
    over the tracks not heard before the round,

        log p(x) = popularity(x) + <successor(y) + insight * mood - avoidance * avoided, x> + const

    with y the last kept track and `avoided` what the service remembers of the session's skips:
    the mean vector of each earlier round's skips, weighted by `memory` to the power of how many
    rounds ago. The listener keeps x with a probability between 0.1 and 0.97 that rises with
    match(x) = <mood, x>. So the track that ends the round is x with probability proportional to
    p(x) * keep(x), however many skips come before it.

    Args:
        items: object array of shape `(num_items,)`, the tracks' names.
        log_popularity: float32 array of shape `(num_items,)`.
        vectors: float32 array of shape `(num_items, latent_dim)`, rows of length 1: what each
            track is like.
        successors: float32 array of shape `(num_items, latent_dim)`: where the tracks lie that
            the service plays after each track.
        moods: float32 array of shape `(num_sessions, latent_dim)`: what the session's listener
            wants to hear now.
        patience: float32 array of shape `(num_sessions,)`: how readily the session's listener
            keeps a track that matches neither well nor badly.
        insight: float. How much the service knows about the mood.
        avoidance: float. How far the service turns away from what was skipped.
        memory: float between 0 and 1. How much of a skip counts one round later.

    Example:

    >>> simulation = keras_negrec.data.simulate_sessions(num_sessions=20, num_items=50)
    >>> simulation.truth.keep_probability(np.array([3, 4])).shape
    (2, 50)
    """

    items: np.ndarray
    log_popularity: np.ndarray
    vectors: np.ndarray
    successors: np.ndarray
    moods: np.ndarray
    patience: np.ndarray
    insight: float
    avoidance: float
    memory: float

    def indices_of(self, vocabulary: Vocabulary) -> np.ndarray:
        """Where the vocabulary's items stand among the simulation's.

        Raises:
            ValueError: the vocabulary holds an item that is not in the simulation.
        """
        return indices_of(vocabulary, self.items)

    def match(self, sessions: np.ndarray, items: np.ndarray) -> np.ndarray:
        """How well each of `items` fits the mood of the session in the same place."""
        return (self.moods[sessions] * self.vectors[items]).sum(axis=-1)

    def keep_probability(self, sessions: np.ndarray) -> np.ndarray:
        """How likely each track would be kept: float32 `(len(sessions), num_items)`."""
        match = self.moods[sessions] @ self.vectors.T
        attentive = 1 / (1 + np.exp(-(match + self.patience[sessions, None])))
        # Nobody listens closely all the time: some bad matches play through, and a few good ones
        # are skipped.
        return np.float32(0.1) + np.float32(0.87) * attentive

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
            avoided: float array of shape `(n, latent_dim)`.
            heard: bool array of shape `(n, num_items)`: the tracks heard before the round.

        Returns:
            float32 array of shape `(n, num_items)`, 0 where heard.
        """
        wanted = np.where(last_kept[:, None] >= 0, self.successors[last_kept], 0)
        wanted = wanted + self.insight * self.moods[sessions] - self.avoidance * avoided
        logits = self.log_popularity + wanted.astype("float32") @ self.vectors.T
        logits[heard] = -np.inf
        return np.exp(logits - logits.max(axis=1, keepdims=True))

    def __repr__(self) -> str:
        return f"<HiddenTruth of {len(self.items)} items and {len(self.moods)} sessions>"
