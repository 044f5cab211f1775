"""A simulated log of any size together with the truth behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_negrec.data.simulation.log_oracle import LogOracle
from keras_negrec.data.simulation.log_truth import LogTruth
from keras_negrec.data.simulation.play_sessions import play_sessions
from keras_negrec.data.vocabulary import Vocabulary

_START = 1_704_067_200  # 1 January 2024, UTC
_HOUR = 3600
_DAY = 24 * _HOUR
_THREADS = 2


@dataclass(frozen=True, eq=False)
class SimulatedLog:
    """What `simulate_log` returns. Events are drawn when they are asked for.

    Args:
        truth: `LogTruth`, what the events are drawn from.

    Example:

    >>> log = keras_negrec.data.simulate_log(num_users=50, num_items=5000)
    >>> sum(chunk.num_rows for chunk in log.chunks()) == len(log.events())
    True
    """

    truth: LogTruth

    @property
    def num_users(self) -> int:
        return len(self.truth.first_sessions) - 1

    @property
    def num_sessions(self) -> int:
        return self.truth.num_sessions

    def chunks(self) -> Iterator[pa.Table]:
        """The events, some hundred thousand at a time, in the order of users and of time.

        Yields:
            `pyarrow.Table` with the columns `user` (int64), `session` (int64, no two users
            share one), `position` (int32, from 0), `timestamp` (int64, seconds since 1970),
            `item` (string) and `feedback` (int8).
        """
        names = pa.array(self.truth.items, pa.string())
        pending: deque = deque()
        with ThreadPoolExecutor(_THREADS) as threads:
            for first_user, end_user in self.truth.chunks():
                pending.append(threads.submit(self._chunk, first_user, end_user, names))
                if len(pending) > _THREADS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def events(self) -> pd.DataFrame:
        """The events table, in memory."""
        return pa.concat_tables(self.chunks()).to_pandas()

    def _chunk(self, first_user: int, end_user: int, names: pa.Array) -> pa.Table:
        truth = self.truth
        states = truth.chunk_state(first_user, end_user)
        random = np.random.default_rng([truth.seed, 3, first_user])
        session, item, feedback = play_sessions(truth, states, random)
        lengths = np.bincount(session, minlength=len(states.num_kept))
        starts = np.cumsum(lengths) - lengths
        position = np.arange(len(session)) - np.repeat(starts, lengths)

        seconds = np.where(
            feedback > 0,
            random.integers(120, 300, size=len(session)),
            random.integers(2, 45, size=len(session)),
        )
        played = np.cumsum(seconds) - seconds
        played_before = np.append(played, np.sum(seconds))[starts]  # by earlier sessions
        duration = np.bincount(session, seconds, minlength=len(lengths)).astype("int64")
        pauses = _HOUR + random.exponential(_DAY, size=len(lengths)).astype("int64")
        num_sessions = np.diff(truth.first_sessions[first_user : end_user + 1])
        user = np.repeat(np.arange(end_user - first_user), num_sessions)
        first = np.cumsum(num_sessions) - num_sessions
        elapsed = np.cumsum(duration + pauses) - duration - pauses
        begin = random.integers(30 * _DAY, size=len(num_sessions))[user]
        begin += _START + elapsed - elapsed[first][user]
        return pa.table(
            {
                "user": np.repeat(first_user + user, lengths),
                "session": states.first + session,
                "position": position.astype("int32"),
                "timestamp": begin[session] + played - played_before[session],
                "item": names.take(pa.array(item)),
                "feedback": feedback,
            }
        )

    def item_table(self) -> pd.DataFrame:
        """What is known of each item: the columns `item` and `genre`, such as `"genre_07"`."""
        digits = max(2, len(str(len(self.truth.genres) - 1)))
        genres = np.array([f"genre_{g:0{digits}d}" for g in range(len(self.truth.genres))])
        return pd.DataFrame({"item": self.truth.items, "genre": genres[self.truth.genre_of]})

    def oracle(self, vocabulary: Vocabulary) -> LogOracle:
        """The best reachable ranking of the vocabulary's items.

        Raises:
            ValueError: the vocabulary holds an item that is not in the simulation.
        """
        return LogOracle(self.truth, vocabulary)

    def __repr__(self) -> str:
        return (
            f"<SimulatedLog: {self.num_users} users, {self.num_sessions} sessions, "
            f"{len(self.truth.items)} items>"
        )
