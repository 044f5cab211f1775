"""The built-in sample data: a simulator of listening sessions."""

from __future__ import annotations

import math
import numbers

import numpy as np
import pandas as pd

from keras_negrec.data.simulation.simulation import Simulation
from keras_negrec.data.simulation.simulation_truth import SimulationTruth

_LATENT_DIM = 8
_NUM_MOODS = 24


def simulate_sessions(
    num_sessions: int = 8000,
    num_items: int = 1000,
    *,
    num_users: int | None = None,
    mean_kept: int = 10,
    num_genres: int = 64,
    popularity_exponent: float = 0.8,
    sequence_strength: float = 5.0,
    mood_strength: float = 4.0,
    avoidance: float = 6.0,
    patience: float = 0.8,
    position_bias: float = 1.0,
    appeal_spread: float = 0.5,
    tendency_spread: float = 1.0,
    seed: int = 0,
) -> Simulation:
    """Draws the sessions of a listening service, of any size, from rules that are known.

    The data are synthetic: they show that code works, how fast it is, and that skips can be
    learnt from, not how good a model is on real listeners.

    Tracks belong to genres, and their popularity follows a power law. Each session has a mood,
    which likes some genres and not others. A service plays one track after the other: popular
    ones, of genres that go well after the last kept track, and not like those skipped lately. The
    listener keeps what matches the mood and skips what does not, the more patient listeners
    less; a good match may be liked (+2), a bad one disliked (-2). Some tracks are skipped less
    than others by all, and a session begins with more skips. So what was kept and skipped tells
    the mood, and the mood what is kept next. `SimulationTruth` has the formulas.

    No track that was heard before the last kept one comes again; between two kept ones a skipped
    track may rarely come again. A session ends with the last of its kept tracks, whose number is
    drawn beforehand, so that what `leave_one_out` holds out was drawn from what the oracles know.
    (Only where a session has heard the whole catalogue does it end sooner.)

    Events are drawn when they are asked for, and take memory only where all of them are asked
    for at once. The time does not depend on the size of the catalogue.

    Args:
        num_sessions: int. Their ids are `0..num_sessions - 1`.
        num_items: int. Tracks in the catalogue; some may never be played.
        num_users: int or None. Spreads the sessions over users, `0..num_users - 1`, of whom few
            have many; None makes sessions of listeners who come once, without a `user` column.
        mean_kept: int. Mean number of tracks a session keeps; the number varies by a third of it.
            By default a session has about 1.6 times as many tracks, mostly 10 to 22.
        num_genres: int.
        popularity_exponent: float. 0 makes all tracks equally popular.
        sequence_strength: float. How strongly the last kept track decides what is played.
        mood_strength: float. How strongly the mood decides between keep and skip.
        avoidance: float. How far the service turns away from what was skipped.
        patience: float, may be negative. The higher, the fewer skips.
        position_bias: float. How much less patience there is when a session begins.
        appeal_spread: float. How much tracks of a genre differ in how readily they are kept.
        tendency_spread: float. How much listeners differ in patience.
        seed: int. The same arguments and seed give the same sessions.

    Returns:
        A `Simulation`: `.events` is the events table, `.chunks()` and `.write(folder)` are for
        tables too large for memory; `.oracle(vocabulary)` is the best ranking that anyone could
        reach, `.history_oracle(vocabulary)` the best that a model could.

    Raises:
        ValueError: an argument of another type or outside of its range.

    Example:

    >>> simulation = keras_negrec.data.simulate_sessions(num_sessions=100, num_items=50)
    >>> simulation.events["session"].nunique(), simulation.events["feedback"].isin([0]).any()
    (100, np.False_)
    """
    for name, number, least in (
        ("num_sessions", num_sessions, 1),
        ("num_items", num_items, 1),
        ("num_users", 1 if num_users is None else num_users, 1),
        ("mean_kept", mean_kept, 1),
        ("num_genres", num_genres, 1),
        ("seed", seed, 0),
    ):
        if not isinstance(number, numbers.Integral) or isinstance(number, bool) or number < least:
            raise ValueError(
                f"`{name}` must be an integer of at least {least}. Received: {number!r}"
            )
    if num_users is not None and num_users > num_sessions:
        raise ValueError(
            "`num_users` must be at most `num_sessions`, as each has one. Received: "
            f"num_users={num_users}, num_sessions={num_sessions}"
        )
    for name, value in (
        ("popularity_exponent", popularity_exponent),
        ("sequence_strength", sequence_strength),
        ("mood_strength", mood_strength),
        ("avoidance", avoidance),
        ("patience", patience),
        ("position_bias", position_bias),
        ("appeal_spread", appeal_spread),
        ("tendency_spread", tendency_spread),
    ):
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or (value < 0 and name != "patience"):
            expected = "a finite number" + (" of at least 0" if name != "patience" else "")
            raise ValueError(f"`{name}` must be {expected}. Received: {value!r}")

    random = np.random.default_rng([seed, 0])
    genres = _unit(random.normal(size=(num_genres, _LATENT_DIM)))
    # What goes well after a genre is somewhat like it, and otherwise a fixed turn away from it.
    turn, _ = np.linalg.qr(random.normal(size=(_LATENT_DIM, _LATENT_DIM)))
    successors = _unit(0.6 * genres + 0.8 * genres @ turn)
    moods = _LATENT_DIM**0.5 * _unit(random.normal(size=(_NUM_MOODS, _LATENT_DIM)))
    fewest = -(-2 * mean_kept // 3)
    kept_range = (fewest, 2 * mean_kept - fewest)
    truth = SimulationTruth(
        items=_items(random, num_items, num_genres, popularity_exponent, appeal_spread),
        sessions=_sessions(random, num_sessions, num_users or num_sessions, kept_range),
        flow=np.pad(sequence_strength * successors @ genres.T, ((0, 1), (0, 0))).astype("float32"),
        genres=genres.astype("float32"),
        match=(mood_strength * moods @ genres.T).astype("float32"),
        tendencies=(patience + tendency_spread * np.array([-1.5, 0, 1.5])).astype("float32"),
        kept_range=kept_range,
        avoidance=float(avoidance),
        position_bias=float(position_bias),
    )
    return Simulation(truth, int(seed), num_users is not None)


def _items(random, num_items, num_genres, popularity_exponent, appeal_spread) -> pd.DataFrame:
    sizes = (np.arange(num_genres) + 2) ** -0.5
    popularity = (random.permutation(num_items) + 4.0) ** -popularity_exponent
    digits = max(4, len(str(num_items - 1)))
    return pd.DataFrame(
        {
            "item": np.array([f"track_{i:0{digits}d}" for i in range(num_items)], object),
            "genre": random.choice(num_genres, size=num_items, p=sizes / sizes.sum()),
            "weight": np.maximum(1, np.rint(2.0**48 / popularity.sum() * popularity)),
            "appeal": appeal_spread * random.normal(size=num_items),
        }
    )


def _sessions(random, num_sessions, num_users, kept_range) -> pd.DataFrame:
    # Any numbers of sessions of at least 1 are as likely: few users have many.
    more = random.choice(num_sessions - 1, size=num_users - 1, replace=False)
    user = np.zeros(num_sessions, int)
    user[1 + more] = 1
    user = np.cumsum(user)
    home = random.integers(_NUM_MOODS, size=num_users)[user]
    other = random.integers(_NUM_MOODS, size=num_sessions)
    is_home = random.random(num_sessions) < SimulationTruth.home_share
    return pd.DataFrame(
        {
            "user": user,
            "mood": np.where(is_home, home, other),
            "tendency": random.integers(3, size=num_users)[user],
            "num_kept": random.integers(*kept_range, size=num_sessions, endpoint=True),
        }
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
