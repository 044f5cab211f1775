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

    Tracks belong to genres. Each session has a mood, which likes some genres and not others. A
    service plays one track after the other: popular ones, of genres that go well after the last
    kept track, and not like those skipped lately. The listener keeps what matches the mood and
    skips what does not; a good match may be liked (+2), a bad one disliked (-2). Some listeners
    skip more than others, some tracks are skipped more than others, and sessions begin with more
    skips. So what was kept and skipped tells the mood, and the mood what is kept next.
    `SimulationTruth` has the formulas.

    No track that was heard before the last kept one comes again; between two kept ones a skipped
    track may rarely come again. A session ends with the last of its kept tracks, whose number is
    drawn beforehand, so that what `leave_one_out` holds out was drawn from what the oracles know.
    (Only where a session has heard the whole catalogue does it end sooner.)

    Args:
        num_sessions: int. Their ids are `0..num_sessions - 1`.
        num_items: int. Tracks in the catalogue, whose size costs no time.
        num_users: int or None. Spreads the sessions over users, `0..num_users - 1`, of whom few
            have many; None makes sessions of listeners who come once, without a `user` column.
        mean_kept: int. Mean number of tracks a session keeps; the number varies by a third of it.
            By default a session has about 1.6 times as many tracks, mostly 10 to 23.
        num_genres: int.
        popularity_exponent: float, of a power law. 0 makes all tracks equally popular.
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
        what is too large for memory; `.oracle(vocabulary)` is the best ranking that anyone could
        reach, `.history_oracle(vocabulary)` the best that a model could.

    Raises:
        ValueError: an argument of another type or outside of its range.

    Example:

    >>> simulation = keras_negrec.data.simulate_sessions(num_sessions=100, num_items=50)
    >>> simulation.events["session"].nunique(), simulation.events["feedback"].isin([0]).any()
    (100, np.False_)
    """
    for name, value in dict(locals()).items():
        is_whole = name.startswith("num_") or name in ("mean_kept", "seed")
        least = 1 if is_whole and name != "seed" else -math.inf if name == "patience" else 0
        kind = numbers.Integral if is_whole else numbers.Real
        fits = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
        if not (fits and value >= least) and (name, value) != ("num_users", None):
            expected = "an integer" if is_whole else "a finite number"
            expected += "" if name == "patience" else f" of at least {least}"
            raise ValueError(f"`{name}` must be {expected}. Received: {value!r}")
    if num_users is not None and num_users > num_sessions:
        raise ValueError(
            "`num_users` must be at most `num_sessions`, as each has one. Received: "
            f"num_users={num_users}, num_sessions={num_sessions}"
        )

    random = np.random.default_rng([seed, 0])
    genres = _unit(random.normal(size=(num_genres, _LATENT_DIM)))
    # What goes well after a genre is somewhat like it, and otherwise a fixed turn away from it.
    turn, _ = np.linalg.qr(random.normal(size=(_LATENT_DIM, _LATENT_DIM)))
    flow = sequence_strength * _unit(0.6 * genres + 0.8 * genres @ turn) @ genres.T
    moods = _LATENT_DIM**0.5 * _unit(random.normal(size=(_NUM_MOODS, _LATENT_DIM)))
    sizes = (np.arange(num_genres) + 2) ** -0.5
    genre = random.choice(num_genres, size=num_items, p=sizes / sizes.sum())
    popularity = (random.permutation(num_items) + 4.0) ** -popularity_exponent
    digits = max(4, len(str(num_items - 1)))
    items = pd.DataFrame(
        {
            "item": np.array([f"track_{i:0{digits}d}" for i in range(num_items)], object),
            "genre": genre.astype("int32"),
            "weight": np.maximum(1, np.rint(2.0**48 / popularity.sum() * popularity)),
            "appeal": (appeal_spread * random.normal(size=num_items)).astype("float32"),
        }
    )

    # Any numbers of sessions, of at least 1, are as likely: few users have many.
    num_listeners = num_users or num_sessions
    begins = random.choice(num_sessions - 1, size=num_listeners - 1, replace=False)
    user = np.zeros(num_sessions, int)
    user[1 + begins] = 1
    user = np.cumsum(user)
    home = random.integers(_NUM_MOODS, size=num_listeners)[user]
    is_home = random.random(num_sessions) < SimulationTruth.home_share
    fewest = -(-2 * mean_kept // 3)
    kept_range = (fewest, 2 * mean_kept - fewest)
    sessions = pd.DataFrame(
        {
            "user": user,
            "mood": np.where(is_home, home, random.integers(_NUM_MOODS, size=num_sessions)),
            "tendency": random.integers(3, size=num_listeners)[user],
            "num_kept": random.integers(*kept_range, size=num_sessions, endpoint=True),
        }
    )
    truth = SimulationTruth(
        items=items,
        sessions=sessions,
        genres=genres.astype("float32"),
        flow=np.pad(flow, ((0, 1), (0, 0))).astype("float32"),
        match=(mood_strength * moods @ genres.T).astype("float32"),
        tendencies=(patience + tendency_spread * np.array([-1.5, 0, 1.5])).astype("float32"),
        kept_range=kept_range,
        avoidance=float(avoidance),
        position_bias=float(position_bias),
    )
    return Simulation(truth, int(seed), num_users is not None)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
