"""The built-in sample data: a simulator of listening sessions."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from keras_negrec.data.simulation.hidden_truth import HiddenTruth
from keras_negrec.data.simulation.simulation import Simulation

_LATENT_DIM = 8
_NUM_GENRES = 25
_NUM_TASTES = 12


def simulate_sessions(
    num_sessions: int = 8000,
    num_items: int = 1000,
    *,
    mean_kept: int = 12,
    popularity_exponent: float = 0.5,
    sequence_strength: float = 11.0,
    mood_strength: float = 4.5,
    avoidance: float = 10.0,
    patience: float = -0.4,
    seed: int = 0,
) -> Simulation:
    """Draws listening sessions with skips from a model whose truth is known.

    The data are synthetic: they show that code works and that skips can be learnt from, not how
    good a model is on real listeners.

    Tracks belong to genres, are like the tracks of their genre, and each has a kind of track
    that goes well after it. Popularity follows a power law. Each session has a mood, drawn
    around one of a few tastes, and a patience. A service presents one track after the other:
    popular ones, ones that go well after the last kept one, and none like those skipped lately.
    The listener keeps a track that matches the mood and skips one that does not; a very good
    match is also liked (+2), a very bad one disliked (-2). No track that was heard before the
    last kept one comes again; between two kept ones a skipped track may rarely come again.
    `HiddenTruth` has the formulas.

    A session ends with the last of its kept tracks, whose number is drawn beforehand, so that
    what is held out by `leave_one_out` was drawn from what the oracle knows. (Only where a
    session has heard the whole catalogue does it end sooner.)

    Args:
        num_sessions: int. Their ids are `0..num_sessions - 1`.
        num_items: int. Tracks in the catalogue; some may never be presented.
        mean_kept: int. Mean number of tracks a session keeps; the number varies from half to
            one and a half of it. With the default patience a session presents about 1.5 times
            as many.
        popularity_exponent: float. 0 makes all tracks equally popular.
        sequence_strength: float. How strongly the last kept track decides what is presented.
        mood_strength: float. How strongly the match decides between keep and skip.
        avoidance: float. How far the service turns away from what was skipped.
        patience: float, may be negative. The higher, the fewer skips.
        seed: int. The same arguments and seed give the same sessions.

    Returns:
        A `Simulation`: `.events` is the events table, `.oracle(vocabulary)` the best reachable
        ranking.

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
        ("mean_kept", mean_kept, 1),
        ("seed", seed, 0),
    ):
        if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < least:
            raise ValueError(
                f"`{name}` must be an integer of at least {least}. Received: {number!r}"
            )
    for name, value, floor in (
        ("popularity_exponent", popularity_exponent, 0.0),
        ("sequence_strength", sequence_strength, 0.0),
        ("mood_strength", mood_strength, 0.0),
        ("avoidance", avoidance, 0.0),
        ("patience", patience, -math.inf),
    ):
        is_number = isinstance(value, int | float | np.integer | np.floating)
        if not is_number or isinstance(value, bool) or not math.isfinite(value) or value < floor:
            expected = "a finite number" if floor < 0 else "a finite number of at least 0"
            raise ValueError(f"`{name}` must be {expected}. Received: {value!r}")

    rng = np.random.default_rng(seed)
    truth = _draw_truth(
        rng,
        num_sessions,
        num_items,
        popularity_exponent=popularity_exponent,
        sequence_strength=sequence_strength,
        mood_strength=mood_strength,
        avoidance=avoidance,
        patience=patience,
    )
    fewest = -(-mean_kept // 2)
    num_rounds = rng.integers(fewest, 2 * mean_kept - fewest, size=num_sessions, endpoint=True)
    step = max(1, 2**20 // num_items)  # bounds the memory at about 50 MB
    parts = [
        _play(truth, np.arange(start, min(start + step, num_sessions)), num_rounds, rng)
        for start in range(0, num_sessions, step)
    ]
    sessions, items, feedback = (np.concatenate(column) for column in zip(*parts, strict=True))

    match = truth.match(sessions, items)
    strong = np.where(feedback > 0, match > 2 * mood_strength, match < -1.25 * mood_strength)
    lengths = np.bincount(sessions, minlength=num_sessions)
    starts = np.cumsum(lengths) - lengths
    events = pd.DataFrame(
        {
            "session": sessions,
            "position": np.arange(len(sessions)) - np.repeat(starts, lengths),
            "item": truth.items[items],
            "feedback": (feedback * (1 + strong)).astype("int8"),
        }
    )
    return Simulation(events, truth)


def _draw_truth(
    rng: np.random.Generator,
    num_sessions: int,
    num_items: int,
    *,
    popularity_exponent: float,
    sequence_strength: float,
    mood_strength: float,
    avoidance: float,
    patience: float,
) -> HiddenTruth:
    genres = _unit(rng.normal(size=(_NUM_GENRES, _LATENT_DIM)))
    own = _unit(rng.normal(size=(num_items, _LATENT_DIM)))
    vectors = _unit(genres[rng.integers(_NUM_GENRES, size=num_items)] + 0.4 * own)
    # What goes well after a track is somewhat like it, and otherwise a fixed turn away from it.
    turn, _ = np.linalg.qr(rng.normal(size=(_LATENT_DIM, _LATENT_DIM)))
    successors = sequence_strength * _unit(0.6 * vectors + 0.8 * vectors @ turn)
    ranks = rng.permutation(num_items)
    tastes = rng.normal(size=(_NUM_TASTES, _LATENT_DIM))[
        rng.integers(_NUM_TASTES, size=num_sessions)
    ]
    moods = np.sqrt(0.3) * tastes + np.sqrt(0.7) * rng.normal(size=(num_sessions, _LATENT_DIM))
    digits = max(4, len(str(num_items - 1)))
    return HiddenTruth(
        items=np.array([f"track_{index:0{digits}d}" for index in range(num_items)], dtype=object),
        log_popularity=(-popularity_exponent * np.log(ranks + 4)).astype("float32"),
        vectors=vectors.astype("float32"),
        successors=successors.astype("float32"),
        moods=(mood_strength * moods).astype("float32"),
        patience=(patience + 0.5 * rng.normal(size=num_sessions)).astype("float32"),
        insight=0.2,
        avoidance=float(avoidance),
        memory=0.8,
    )


def _play(
    truth: HiddenTruth, sessions: np.ndarray, num_rounds: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All events of the given sessions, in order: session, item index, +1 or -1."""
    keep = truth.keep_probability(sessions)
    heard = np.zeros(keep.shape, bool)
    last_kept = np.full(len(sessions), -1)
    avoided = np.zeros((len(sessions), _LATENT_DIM), "float32")
    rows, items, feedback = [], [], []
    for nth in range(num_rounds[sessions].max()):
        going = np.flatnonzero((num_rounds[sessions] > nth) & ~heard.all(axis=1))
        weights = truth.presentation_weights(
            sessions[going], last_kept[going], avoided[going], heard[going]
        )
        num_skips, skips, kept = _play_round(weights, keep[going], rng)
        skip_rows = np.repeat(going, num_skips)
        rows += [skip_rows, going]
        items += [skips, kept]
        feedback += [np.full(len(skips), -1), np.full(len(kept), 1)]
        heard[skip_rows, skips] = True
        heard[going, kept] = True
        last_kept[going] = kept
        avoided *= truth.memory
        shares = np.repeat(1 / np.maximum(num_skips, 1), num_skips)
        np.add.at(avoided, skip_rows, shares[:, None] * truth.vectors[skips])
    row = np.concatenate(rows)
    order = np.argsort(row, kind="stable")  # a row's events were added in the order of time
    return sessions[row[order]], np.concatenate(items)[order], np.concatenate(feedback)[order]


def _play_round(
    weights: np.ndarray, keep: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Presents tracks to each row until one is kept.

    Presentations of a round are independent draws, so how many are skipped, which ones, and
    which one is kept can be drawn apart from each other.

    Args:
        weights: float array of shape `(n, num_items)`, proportional to p(x).
        keep: float array of shape `(n, num_items)`.

    Returns:
        The number of skips of each row, the skipped items row after row, the kept items.
    """
    kept_weights = weights * keep
    ends = kept_weights.sum(axis=1) / weights.sum(axis=1)
    num_skips = rng.geometric(ends) - 1
    rows = np.arange(len(weights))
    kept = _draw(kept_weights, rows, rng)
    skips = _draw(weights - kept_weights, np.repeat(rows, num_skips), rng)
    return num_skips, skips, kept


def _draw(weights: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One item for each of `rows`, drawn in proportion to that row of `weights`."""
    cumulative = np.cumsum(weights, axis=1, dtype="float64")
    cumulative /= cumulative[:, -1:]
    # Row i covers the interval from i to i + 1, so that one search serves all rows. The draw
    # stays clear of the interval's end, where rounding would lead into the next row.
    cumulative += np.arange(len(weights))[:, None]
    drawn = rows + rng.random(len(rows)) * (1 - 1e-9)
    return np.searchsorted(cumulative.ravel(), drawn, side="right") - rows * weights.shape[1]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
