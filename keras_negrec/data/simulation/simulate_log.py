"""Simulated listening logs of any size."""

from __future__ import annotations

import math
import numbers

import numpy as np

from keras_negrec.data.simulation.log_truth import LATENT_DIM, LogTruth
from keras_negrec.data.simulation.simulated_log import SimulatedLog


def simulate_log(
    num_users: int = 1000,
    num_items: int = 10_000,
    *,
    sessions_per_user: float = 8.0,
    mean_kept: float = 12.0,
    num_genres: int = 64,
    popularity_exponent: float = 0.8,
    sequence_strength: float = 8.0,
    mood_strength: float = 4.5,
    avoidance: float = 6.0,
    patience: float = 0.2,
    position_bias: float = 1.5,
    seed: int = 0,
) -> SimulatedLog:
    """Draws the log of a listening service, of any size, from a model whose truth is known.

    The sibling of `simulate_sessions` for large data: users with several sessions each, times,
    and a catalogue whose size does not slow it down. Events come in chunks, and memory does not
    grow with the log. The data are synthetic: they show that code works and how fast it is, not
    how good a model is on real listeners.

    `simulate_sessions` looks at every track for every presentation. Here what a listener wants,
    and what goes well after what, is a matter of genres, and within a genre popularity decides.
    `LogTruth` has the formulas. Like real logs, this one has few tracks with most of the plays,
    few long sessions among many short ones, skips that cluster in sessions, and more of them at
    a session's beginning.

    Args:
        num_users: int. Their ids are `0..num_users - 1`.
        num_items: int. Tracks in the catalogue; some may never be presented.
        sessions_per_user: float of at least 1. The mean; the number is geometric.
        mean_kept: float of at least 1. Mean number of tracks a session keeps, which is
            log-normal. With the default patience a session presents about 1.5 times as many.
        num_genres: int.
        popularity_exponent: float. 0 makes all tracks equally popular.
        sequence_strength: float. How strongly the last kept track decides what is presented.
        mood_strength: float. How strongly the match decides between keep and skip.
        avoidance: float. How far the service turns away from what was skipped.
        patience: float, may be negative. The higher, the fewer skips.
        position_bias: float. How much less patience there is when a session begins.
        seed: int. The same arguments and seed give the same log.

    Returns:
        A `SimulatedLog`: `.chunks()` and `.events()` give the events, `.oracle(vocabulary)` the
        best reachable ranking.

    Raises:
        ValueError: an argument of another type or outside of its range.

    Example:

    >>> log = keras_negrec.data.simulate_log(num_users=50, num_items=5000)
    >>> list(log.events().columns)
    ['user', 'session', 'position', 'timestamp', 'item', 'feedback']
    """
    for name, number, least in (
        ("num_users", num_users, 1),
        ("num_items", num_items, 1),
        ("num_genres", num_genres, 1),
        ("seed", seed, 0),
    ):
        if not isinstance(number, numbers.Integral) or isinstance(number, bool) or number < least:
            raise ValueError(
                f"`{name}` must be an integer of at least {least}. Received: {number!r}"
            )
    for name, value, floor in (
        ("sessions_per_user", sessions_per_user, 1.0),
        ("mean_kept", mean_kept, 1.0),
        ("popularity_exponent", popularity_exponent, 0.0),
        ("sequence_strength", sequence_strength, 0.0),
        ("mood_strength", mood_strength, 0.0),
        ("avoidance", avoidance, 0.0),
        ("patience", patience, -math.inf),
        ("position_bias", position_bias, 0.0),
    ):
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value < floor:
            at_least = "" if floor == -math.inf else f" of at least {floor:g}"
            raise ValueError(f"`{name}` must be a finite number{at_least}. Received: {value!r}")

    random = np.random.default_rng([seed, 0])
    genres = _unit(random.normal(size=(num_genres, LATENT_DIM)))
    # What goes well after a genre is somewhat like it, and otherwise a fixed turn away from it.
    turn, _ = np.linalg.qr(random.normal(size=(LATENT_DIM, LATENT_DIM)))
    successors = sequence_strength * _unit(0.6 * genres + 0.8 * genres @ turn)
    sizes = (np.arange(num_genres) + 2) ** -0.5
    genre_of = random.choice(num_genres, size=num_items, p=sizes / sizes.sum())
    popularity = (random.permutation(num_items) + 4.0) ** -popularity_exponent
    weights = np.maximum(1, np.rint(2.0**48 / popularity.sum() * popularity))
    num_sessions = random.geometric(1 / sessions_per_user, size=num_users)
    digits = max(4, len(str(num_items - 1)))
    truth = LogTruth(
        items=np.array([f"track_{index:0{digits}d}" for index in range(num_items)], dtype=object),
        weights=weights,
        genre_of=genre_of,
        genres=genres.astype("float32"),
        successors=successors.astype("float32"),
        first_sessions=np.append(0, np.cumsum(num_sessions)),
        mean_kept=float(mean_kept),
        mood_strength=float(mood_strength),
        patience=float(patience),
        position_bias=float(position_bias),
        avoidance=float(avoidance),
        seed=int(seed),
    )
    return SimulatedLog(truth)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
