"""From a raw log to all files of a prepared folder but its manifest."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from keras_negrec.atomic_write import sync
from keras_negrec.data.logs.engine import Engine
from keras_negrec.data.logs.event_table import EventTable, read_events
from keras_negrec.data.logs.formats import Scan
from keras_negrec.data.preparation.cut_rows import cut_rows
from keras_negrec.data.preparation.filter_sessions import filter_sessions
from keras_negrec.data.preparation.manifest import vocabulary_hash
from keras_negrec.data.preparation.session_table import (
    Dropped,
    SessionTable,
    to_rows,
    to_sessions,
)
from keras_negrec.data.preparation.totals import Totals
from keras_negrec.data.preparation.write_shards import ROW_GROUP_EVENTS, RowSpool, write_shards
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.splits.cuts import Cuts, leave_one_out_cuts, no_cuts, session_cuts, time_cuts
from keras_negrec.data.vocabulary import Vocabulary, frequency_order

Tell = Callable[[str, float | None], None]


def write_folder(
    engine: Engine,
    scan: Scan,
    source,
    several_files: bool,
    folder: Path,
    parameters: dict[str, Any],
    tell: Tell,
) -> dict[str, Any]:
    """Writes all but the manifest, and returns what it says.

    The folder has an empty folder `work` in it. `tell` is called with the name of each step and the
    share of it that is done, or None.
    """
    tell("reading events", None)
    options = parameters["format_options"]
    log = read_events(scan, source, options, engine, parameters["errors"])
    dropped = [Dropped(kind, count) for kind, count in sorted(log.problems.items())]
    by_user = parameters["group_by"] == "user"
    with_times = parameters["split"] == "time"
    _check_columns(log, by_user, parameters)

    tell("grouping them into sessions", None)
    sessions, found, odd = to_sessions(
        log,
        engine,
        by_user=by_user,
        session_gap=parameters["session_gap"],
        with_times=with_times or by_user,
        duplicates=parameters["duplicates"],
        errors=parameters["errors"],
        several_files=several_files,
    )
    dropped += found
    items = _read_items(sessions)

    tell("filtering", None)
    sessions, found = filter_sessions(sessions, engine, parameters)
    dropped += found
    num_events, num_sessions = sessions.totals()
    if not num_events:
        raise ValueError(
            f"Nothing remains of {log.num_read} events. Received: "
            + "; ".join(f"{drop.events} events dropped: {drop.reason}" for drop in dropped)
        )
    num_rows = num_sessions
    if by_user:
        num_rows = int(sessions.table.user.nunique().to_pyarrow().as_py())

    begins = _periods(sessions, parameters) if with_times else None
    rows = to_rows(sessions, parameters["seed"], with_times)
    totals, spool = Totals(len(items)), RowSpool(folder / "work" / "rows.arrow")
    for part in cut_rows(
        engine.batches(rows, max(1, ROW_GROUP_EVENTS * num_rows // num_events)),
        cut=functools.partial(_cut, parameters=parameters, begins=begins),
        max_length=parameters["max_length"],
        keep_windows=parameters["long_rows"] == "windows",
        num_shards=parameters["num_shards"],
    ):
        totals.add(part)
        spool.write(part)
        tell("cutting rows", min((totals.events + totals.num_truncated) / num_events, 1.0))
    if totals.num_truncated:
        reason = f"older than the last {parameters['max_length']} events of long rows"
        dropped.append(Dropped(reason, totals.num_truncated))
    split: dict[str, Any] = totals.split()
    if parameters["split"] is not None and not split["test"]["examples"]:
        raise ValueError(
            f"No row can be held out to be tested on. Received: split={parameters['split']!r}, "
            f"{totals.rows} rows of at most {totals.max_row_length} events"
        )
    if begins is not None:
        split |= {"validation_from": begins[0], "test_from": begins[1]}

    tell("writing shards", None)
    codes = np.flatnonzero(totals.count)  # of what is left
    names = items[codes - 1]
    order = frequency_order(names, totals.train_count[codes])
    vocabulary, codes = Vocabulary(names[order]), codes[order]
    ids = np.zeros(len(items) + 1, "int32")
    ids[codes] = np.arange(1, len(codes) + 1)
    (folder / "shards").mkdir()
    shards = write_shards(spool, folder / "shards", ids=ids, num_shards=parameters["num_shards"])
    sync(folder / "shards")
    vocabulary.save(folder / "vocabulary.json")
    _write_items(folder / "items.parquet", vocabulary, totals, codes)
    kept = {"events": totals.events, "sessions": num_sessions, "rows": totals.rows}
    return {
        "counts": {
            "read": {"events": log.num_read, "items": len(items)},
            "kept": kept | {"items": len(vocabulary)},
            "dropped": [asdict(drop) for drop in dropped],
            "odd": odd,
            "unreadable_files": log.unreadable,
        },
        "split": split,
        "feedback": {str(value - 2): int(count) for value, count in enumerate(totals.feedback)},
        "negative_share": float(totals.feedback[:2].sum() / totals.events),
        "max_row_length": totals.max_row_length,
        "columns": totals.columns,
        "vocabulary_sha256": vocabulary_hash(folder),
        "shards": shards,
    }


def _check_columns(log: EventTable, by_user: bool, parameters: dict[str, Any]) -> None:
    for needed, column, why in (
        (by_user, "user", 'group_by="user"'),
        (parameters["split"] == "time", "time", 'split="time"'),
        (parameters["session_gap"] is not None, "time", "`session_gap`"),
    ):
        if needed and column not in log.table.columns:
            column = {"time": "timestamp"}.get(column, column)
            raise ValueError(f"{why} needs a log with a column `{column}`. Received one without.")


def _read_items(sessions: SessionTable) -> np.ndarray:
    """The items in the order of their codes, of which the first is 1."""
    table = sessions.items.order_by("code").select("item").to_pyarrow()
    is_text = not pa.types.is_integer(table["item"].type)
    return pd.Series(table["item"].to_pylist(), dtype=object if is_text else "int64").to_numpy()


def _periods(sessions: SessionTable, parameters: dict[str, Any]) -> tuple[float, float]:
    """When validation and test begin."""
    if parameters["test_from"] is not None:
        return parameters["validation_from"], parameters["test_from"]
    events = sessions.events()
    time = events[sessions.time].cast("float64")
    test = 1 - parameters["test_share"]
    begins = events.agg(
        validation=time.quantile(test - parameters["validation_share"]), test=time.quantile(test)
    )
    [row] = begins.to_pyarrow().to_pylist()
    return row["validation"], row["test"]


def _cut(
    sessions: Sessions,
    draw: np.ndarray,
    times: np.ndarray | None,
    *,
    parameters: dict[str, Any],
    begins: tuple[float, float] | None,
) -> Cuts:
    if parameters["split"] == "leave_one_out":
        return leave_one_out_cuts(sessions)
    if parameters["split"] == "session":
        return session_cuts(
            sessions, draw, parameters["validation_share"], parameters["test_share"]
        )
    if times is not None and begins is not None:
        return time_cuts(sessions, times, *begins)
    return no_cuts(sessions)


def _write_items(path: Path, vocabulary: Vocabulary, totals: Totals, codes: np.ndarray) -> None:
    kind = pa.string() if vocabulary.is_string else pa.int64()
    table = pa.table(
        {
            "id": pa.array(np.arange(1, len(vocabulary) + 1), pa.int32()),
            "item": pa.array(vocabulary.items, kind),
            "count": totals.count[codes],
            "train_count": totals.train_count[codes],
            "train_positive_count": totals.train_positive_count[codes],
        }
    )
    pa.parquet.write_table(table, path, compression="zstd")
    sync(path)
