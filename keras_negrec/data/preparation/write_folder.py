"""From a raw log to all files of a prepared folder but its manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from keras_negrec.data.event_columns import in_seconds
from keras_negrec.data.logs.engine import Engine
from keras_negrec.data.logs.event_table import nothing_remains, read_events
from keras_negrec.data.logs.formats import Scan
from keras_negrec.data.preparation.cut_rows import ROW_GROUP_EVENTS, RowSpool, Totals, cut_rows
from keras_negrec.data.preparation.filter_sessions import filter_sessions
from keras_negrec.data.preparation.known_file import describe_file
from keras_negrec.data.preparation.manifest import ITEMS, VOCABULARY
from keras_negrec.data.preparation.session_table import Dropped, to_rows, to_sessions
from keras_negrec.data.vocabulary import Vocabulary, frequency_order


def write_folder(
    engine: Engine,
    scan: Scan,
    source,
    several_files: bool,
    folder: Path,
    parameters: dict[str, Any],
    tell: Callable[[str, float | None], None],
    base: Vocabulary | None = None,
    first_shard: int = 0,
) -> dict[str, Any]:
    """Writes all but the manifest, and returns what it says; `tell` is `progress` of `prepare`.

    The folder has an empty folder `work` in it. The vocabulary begins with the items of `base`.
    """
    tell("reading events", None)
    log = read_events(scan, source, parameters["format_options"], engine, parameters["errors"])
    dropped = [Dropped(kind, count) for kind, count in sorted(log.problems.items())]
    with_times = parameters["split"] == "time"
    for why, needed, column in (
        ('group_by="user"', parameters["group_by"] == "user", "user"),
        ('split="time"', with_times, "time"),
        ("`session_gap`", parameters["session_gap"] is not None, "time"),
    ):
        if needed and column not in log.table.columns:
            name = "timestamp" if column == "time" else column
            raise ValueError(f"{why} needs a log with a column `{name}`. Received one without.")

    tell("grouping them into sessions", None)
    sessions, found, odd = to_sessions(log, engine, parameters, several_files)
    dropped += found
    item = sessions.items.order_by("code").select("item").to_pyarrow()["item"]
    is_text = not pa.types.is_integer(item.type)
    items = pd.Series(item.to_pylist(), dtype=object if is_text else "int64").to_numpy()

    tell("filtering", None)
    sessions, found = filter_sessions(sessions, engine, parameters)
    dropped += found
    num_events, num_sessions = sessions.totals()
    if not num_events:
        raise nothing_remains(log.num_read, [(drop.reason, drop.events) for drop in dropped])
    num_rows = num_sessions
    if parameters["group_by"] == "user":
        num_rows = int(sessions.table.user.nunique().to_pyarrow().as_py())

    begins = in_seconds(_periods(sessions, parameters)) if with_times else None
    rows = to_rows(sessions, parameters["seed"])
    totals, spool = Totals(len(items)), RowSpool(folder / "work" / "rows.arrow")
    num_read = 0
    for batch in engine.batches(rows, max(1, ROW_GROUP_EVENTS * num_rows // num_events)):
        part, cuts, shards_of_rows = cut_rows(batch, parameters, begins)
        totals.add(part, cuts)
        spool.write(part, cuts, shards_of_rows)
        num_read += batch.num_rows
        tell("cutting rows", num_read / num_rows)
    if totals.events < num_events:
        reason = f"older than the last {parameters['max_length']} events of long rows"
        dropped.append(Dropped(reason, num_events - totals.events))
    split = totals.split()
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
    if base is None:
        vocabulary = Vocabulary(names[order])
    else:
        vocabulary = base.grow(names[order][base.encode(names[order], unknown="zero") == 0])
    ids = np.zeros(len(items) + 1, "int32")
    ids[codes] = vocabulary.encode(names)
    (folder / "shards").mkdir()
    shards = spool.write_shards(folder / "shards", ids, parameters["num_shards"], first_shard)
    vocabulary.save(folder / VOCABULARY)
    table = {
        "id": pa.array(np.arange(1, len(vocabulary) + 1), pa.int32()),
        "item": pa.array(vocabulary.items, pa.string() if vocabulary.is_string else pa.int64()),
    }
    for name in ("count", "train_count", "train_positive_count"):
        counts = np.zeros(len(vocabulary), "int64")
        counts[ids[codes] - 1] = getattr(totals, name)[codes]
        table[name] = pa.array(counts)
    pa.parquet.write_table(pa.table(table), folder / ITEMS, compression="zstd")
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
        "num_repeats": totals.num_repeats,
        "max_row_length": totals.max_row_length,
        "columns": totals.columns,
        "files": [describe_file(folder / name, folder) for name in (VOCABULARY, ITEMS)],
        "shards": shards,
    }


def _periods(sessions, parameters: dict[str, Any]) -> tuple[float, float]:
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
