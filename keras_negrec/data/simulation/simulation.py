"""Simulated listening sessions, from ten to millions, and the truth behind them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from keras_negrec.data.simulation.history_oracle import HistoryOracle
from keras_negrec.data.simulation.oracle import Oracle
from keras_negrec.data.simulation.play_sessions import play_sessions
from keras_negrec.data.simulation.simulation_truth import SimulationTruth
from keras_negrec.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pyarrow as pa

_START, _DAY = 1_704_067_200, 24 * 3600  # 1 January 2024, UTC, in seconds
_SESSIONS_IN_CHUNK = 16_384
_THREADS = 2


@dataclass(frozen=True, eq=False)
class Simulation:
    """What `simulate_sessions` returns. Events are drawn when they are asked for.

    Args:
        truth: `SimulationTruth`, what the events are drawn from.
        seed: int. The same truth and seed give the same events.
        has_users: bool. Whether the events tell whose sessions they are.

    Example:

    >>> simulation = keras_negrec.data.simulate_sessions(num_sessions=20, num_items=50)
    >>> list(simulation.events.columns)
    ['session', 'position', 'timestamp', 'item', 'feedback']
    """

    truth: SimulationTruth
    seed: int
    has_users: bool

    @cached_property
    def events(self) -> pd.DataFrame:
        """All events, with the columns of `chunks`. This is what a model may see."""
        import pyarrow as pa

        return pa.concat_tables(self.chunks()).to_pandas()

    def chunks(self) -> Iterator[pa.Table]:
        """The events, some hundred thousand at a time, so that memory does not grow with them.

        Yields:
            `pyarrow.Table` with all sessions of some users: `session` (int64), `user` (int64, only
            where there are users), `position` (int32, from 0), `timestamp` (int64, seconds since
            1970), `item` (string) and `feedback` (int8), in the order of users and of time.
        """
        import pyarrow as pa

        names = pa.array(self.truth.items["item"], pa.string())
        first_sessions = self.truth.first_sessions
        chunk_of = first_sessions[:-1] // _SESSIONS_IN_CHUNK
        first_users = np.flatnonzero(np.diff(chunk_of, prepend=-1))
        bounds = [*first_sessions[first_users].tolist(), len(self.truth.sessions)]
        pending: deque = deque()
        with ThreadPoolExecutor(_THREADS) as threads:
            for first, end in itertools.pairwise(bounds):
                pending.append(threads.submit(self._chunk, first, end, names))
                if len(pending) > _THREADS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def write(self, folder: str | Path) -> list[Path]:
        """Writes the `chunks` as Parquet files, `events-00000.parquet` and on, and returns them.

        Raises:
            FileExistsError: the folder, which is made where it is not there, holds such files.
        """
        import pyarrow.parquet

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if present := sorted(folder.glob("*.parquet")):
            raise FileExistsError(f"The folder must hold no Parquet files. Received: {present[0]}")
        paths = []
        for number, chunk in enumerate(self.chunks()):
            paths.append(folder / f"events-{number:05d}.parquet")
            pyarrow.parquet.write_table(chunk, paths[-1])
        return paths

    def _chunk(self, first: int, end: int, names: pa.Array) -> pa.Table:
        import pyarrow as pa

        random = np.random.default_rng([self.seed, 1, first])
        session, item, feedback = play_sessions(self.truth, first, end, random)
        lengths = np.bincount(session, minlength=end - first)
        starts = np.cumsum(lengths) - lengths
        position = np.arange(len(session)) - np.repeat(starts, lengths)

        is_kept = feedback > 0
        seconds = random.integers(np.where(is_kept, 120, 2), np.where(is_kept, 300, 45))
        played = np.cumsum(seconds) - seconds  # since the first session of the chunk
        user = self.truth.sessions["user"].to_numpy()[first:end]
        pauses = 3600 + random.exponential(_DAY, size=end - first).astype("int64")
        elapsed = played[starts] + np.cumsum(pauses)
        _, first_of_user, nth_user = np.unique(user, return_index=True, return_inverse=True)
        begin = random.integers(30 * _DAY, size=len(first_of_user))[nth_user]
        begin += _START + elapsed - elapsed[first_of_user][nth_user]
        return pa.table(
            {
                "session": first + session,
                **({"user": user[session]} if self.has_users else {}),
                "position": position.astype("int32"),
                "timestamp": begin[session] + played - played[starts][session],
                "item": names.take(pa.array(item)),
                "feedback": feedback,
            }
        )

    def oracle(self, vocabulary: Vocabulary) -> Oracle:
        """The best ranking that anyone could reach: see `Oracle`."""
        return Oracle(self.truth, vocabulary)

    def history_oracle(self, vocabulary: Vocabulary) -> HistoryOracle:
        """The best ranking that a model could reach: see `HistoryOracle`."""
        return HistoryOracle(self.truth, vocabulary)

    def item_table(self) -> pd.DataFrame:
        """What may be known of each item, also of one that was never played.

        Returns:
            DataFrame with the columns `item`, `genre`, such as `"genre_07"`, and `sound_1` to
            `sound_8`, numbers that tell what its genre is like, with noise.
        """
        genres, genre_of = self.truth.genres, self.truth.genre_of
        digits = max(2, len(str(len(genres) - 1)))
        names = np.array([f"genre_{genre:0{digits}d}" for genre in range(len(genres))])
        table = pd.DataFrame({"item": self.truth.items["item"], "genre": names[genre_of]})
        noise = np.random.default_rng([self.seed, 2]).normal(size=(len(table), genres.shape[1]))
        sound = genres[genre_of] + 0.1 * noise
        return table.assign(**{f"sound_{n}": column for n, column in enumerate(sound.T, 1)})
