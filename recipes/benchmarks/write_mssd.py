"""Simulated logs in the layout of the Spotify Music Streaming Sessions Dataset."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Simulation

_SHORTEST, _LONGEST = 10, 20  # sessions of the published logs
_CONTEXTS = ("editorial_playlist", "user_collection", "radio", "catalog", "charts")
_DAY = 24 * 3600
_HEX = np.array([list(f"{byte:02x}".encode()) for byte in range(256)], "uint8")


def write_mssd(
    log: Simulation, folder: str | Path, *, num_files: int = 1, num_rows: int | None = None
) -> dict[str, int]:
    """Writes a simulated log as `log_*.csv` files with the 21 columns of the published logs.

    Made for trying readers at the size of the published data: sessions, tracks and skips are
    those of the simulation, and the other columns are filled with values that may stand there.
    As in the published logs, a session has 10 to 20 rows: of longer ones the first 20 are
    written, shorter ones are left out. `skip_2` is true where the simulation skips, with
    `skip_3`, and mostly `skip_1`; some tracks that are kept have `skip_3` alone, the others
    `not_skipped`. Users and likes have no column.

    Args:
        log: `Simulation`.
        folder: where to; is made where it is not there. It must hold no `log_*.csv`.
        num_files: int. Sessions are spread over so many files, in order.
        num_rows: int or None. Stop after the session with which so many rows are written; by
            default at the log's end. Files hold about equal shares of the log, so that with
            `num_rows` the last ones may not be there.

    Returns:
        Dict of what was written, `rows`, `sessions` and `files`, and of what was not:
        `short_sessions` left out and `rows_cut` off long sessions.

    Raises:
        FileExistsError: the folder holds `log_*.csv` already.
        ValueError: a number that is not a positive integer.

    Reference:
        [Brost et al., 2019](https://arxiv.org/abs/1901.09851)
    """
    check_positive_int("num_files", num_files)
    if num_rows is not None:
        check_positive_int("num_rows", num_rows)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if present := sorted(folder.glob("log_*.csv")):
        raise FileExistsError(f"The folder must hold no logs yet. Received: {present[0]}")
    random = np.random.default_rng([log.seed, 3])
    items = pa.array(log.truth.items["item"], pa.string())
    tracks = _ids("t_", len(items), random)
    counts = {"rows": 0, "sessions": 0, "files": 0, "short_sessions": 0, "rows_cut": 0}
    last_file = -1
    with ThreadPoolExecutor(1) as writer:
        # One chunk is simulated while the other is written.
        pending = None
        for chunk in log.chunks():
            track = tracks.take(pa.compute.index_in(chunk["item"].combine_chunks(), items))
            session, table = _rows(chunk, track, counts, num_rows, random)
            numbers = session * num_files // len(log.truth.sessions)
            if pending is not None:
                pending.result()
            pending = writer.submit(_write, folder, list(_split(table, numbers)))
            if len(numbers):
                counts["files"] += len(np.unique(numbers)) - int(numbers[0] == last_file)
                last_file = int(numbers[-1])
            if num_rows is not None and counts["rows"] >= num_rows:
                break
        if pending is not None:
            pending.result()
    return counts


def _write(folder: Path, parts: list[tuple[int, pa.Table]]) -> None:
    for number, part in parts:
        path = folder / f"log_{number:05d}.csv"
        is_new = not path.exists()
        with path.open("ab") as file:
            if is_new:
                file.write((",".join(part.column_names) + "\n").encode())
            pa.csv.write_csv(
                part,
                file,
                pa.csv.WriteOptions(include_header=False, quoting_style="none", batch_size=65_536),
            )


def _split(table: pa.Table, numbers: np.ndarray) -> Iterator[tuple[int, pa.Table]]:
    """The table's rows by the number of their file, which never falls."""
    for number in np.unique(numbers):
        start, end = np.searchsorted(numbers, [number, number + 1])
        yield int(number), table.slice(start, end - start)


def _rows(
    chunk: pa.Table,
    track: pa.Array,
    counts: dict[str, int],
    num_rows: int | None,
    random: np.random.Generator,
) -> tuple[np.ndarray, pa.Table]:
    """The session of each row that is written, and the table of these rows."""
    session = chunk["session"].to_numpy()
    new = np.diff(session, prepend=-1) != 0
    lengths = np.diff(np.append(np.flatnonzero(new), len(session)))
    written = np.where(lengths >= _SHORTEST, np.minimum(lengths, _LONGEST), 0)
    if num_rows is not None:
        # Up to the session with which there are enough rows.
        before = counts["rows"] + np.cumsum(written) - written
        lengths, written = lengths[before < num_rows], written[before < num_rows]
    counts["rows"] += int(written.sum())
    counts["sessions"] += int((written > 0).sum())
    counts["short_sessions"] += int((written == 0).sum())
    counts["rows_cut"] += int((lengths - written)[written > 0].sum())

    position = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    rows = np.flatnonzero(position < np.repeat(written, lengths))
    number = np.repeat(np.arange(len(lengths)), lengths)[rows]  # of the session in the chunk
    position = position[rows]
    is_first, size = position == 0, len(rows)
    chance = random.random((4, size), dtype="float32")
    skipped = chunk["feedback"].to_numpy()[rows] < 0
    seconds = chunk["timestamp"].to_numpy()[rows]
    pause = ~is_first & (chance[2] < 0.2)
    reason_end = np.where(skipped, np.where(chance[3] < 0.8, 0, 1), np.where(chance[3] < 0.9, 2, 1))
    reason_start = np.where(is_first, 3, np.roll(reason_end, 1))
    shuffle, premium = random.random((2, len(lengths))) < np.array([[0.3], [0.8]])
    context = random.integers(len(_CONTEXTS), size=len(lengths))
    columns = {
        "session_id": _ids("0_", len(lengths), random).take(pa.array(number)),
        "session_position": position + 1,
        "session_length": written[number],
        "track_id_clean": track.take(pa.array(rows)),
        "skip_1": skipped & (chance[0] < 0.8),
        "skip_2": skipped,
        "skip_3": skipped | (chance[1] < 0.1),
        "not_skipped": ~skipped & (chance[1] >= 0.1),
        "context_switch": (~is_first & (chance[0] < 0.05)).astype("int8"),
        "no_pause_before_play": (~pause).astype("int8"),
        "short_pause_before_play": pause.astype("int8"),
        "long_pause_before_play": (pause & (chance[2] < 0.1)).astype("int8"),
        "hist_user_behavior_n_seekfwd": (chance[1] > 0.97).astype("int8"),
        "hist_user_behavior_n_seekback": (chance[0] > 0.98).astype("int8"),
        "hist_user_behavior_is_shuffle": shuffle[number],
        "hour_of_day": seconds // 3600 % 24,
        "date": pa.array(seconds // _DAY, pa.int32()).cast(pa.date32()),
        "premium": premium[number],
        "context_type": pa.array(_CONTEXTS).take(pa.array(context[number])),
        "hist_user_behavior_reason_start": _reasons(reason_start),
        "hist_user_behavior_reason_end": _reasons(reason_end),
    }
    return session[rows], pa.table(columns)


def _reasons(codes: np.ndarray) -> pa.Array:
    return pa.array(("fwdbtn", "backbtn", "trackdone", "clickrow")).take(pa.array(codes))


def _ids(prefix: str, number: int, random: np.random.Generator) -> pa.Array:
    """Ids such as `t_0479f24c-27d2-46d6-a00c-7ec928f2b539`."""
    digits = _HEX[random.integers(256, size=(number, 16), dtype="uint8")].reshape(number, 32)
    width = len(prefix) + 36
    text = np.empty((number, width), "uint8")
    text[:, : len(prefix)] = np.frombuffer(prefix.encode(), "uint8")
    place = len(prefix)
    for start, end in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)):
        text[:, place : place + end - start] = digits[:, start:end]
        place += end - start
        if place < width:
            text[:, place] = ord("-")
            place += 1
    offsets = np.arange(number + 1, dtype="int32") * width
    return pa.StringArray.from_buffers(
        number, pa.py_buffer(offsets), pa.py_buffer(text.reshape(-1))
    )
