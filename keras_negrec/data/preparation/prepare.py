"""From raw logs of any size to a folder that training reads."""

from __future__ import annotations

import functools
import numbers
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from keras_negrec.argument_checks import (
    check_choice,
    check_fraction,
    check_positive_float,
    check_positive_int,
)
from keras_negrec.atomic_write import sync
from keras_negrec.data.logs.engine import Engine, open_engine
from keras_negrec.data.logs.engine_errors import engine_errors
from keras_negrec.data.logs.event_table import (
    EventTable,
    Scan,
    check_format_options,
    find_scan,
    read_events,
)
from keras_negrec.data.preparation.manifest import (
    SCHEMA_VERSION,
    as_json,
    describe_sources,
    partial_folder,
    publish,
    read_manifest,
    vocabulary_hash,
    write_manifest,
)
from keras_negrec.data.preparation.prepare_report import prepare_report
from keras_negrec.data.preparation.session_table import (
    Dropped,
    SessionTable,
    drop_below_core,
    drop_rare_items,
    drop_sessions,
    highest_feedback,
    lowest_feedback,
    to_rows,
    to_sessions,
)
from keras_negrec.data.preparation.write_shards import (
    ROW_GROUP_EVENTS,
    Totals,
    cut_rows,
    write_shards,
)
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.splits.cuts import Cuts, leave_one_out_cuts, no_cuts, session_cuts, time_cuts
from keras_negrec.data.vocabulary import Vocabulary


def prepare(
    source,
    folder: str | Path,
    *,
    format: str = "frame",
    format_options: dict[str, Any] | None = None,
    engine="duckdb",
    errors: str = "raise",
    duplicates: str = "drop",
    group_by: str = "session",
    session_gap: float | None = None,
    min_item_count: int = 1,
    min_session_length: int = 1,
    require_feedback: str | None = None,
    k_core: int | None = None,
    max_length: int | None = None,
    long_rows: str = "windows",
    split: str | None = "leave_one_out",
    validation_share: float = 0.1,
    test_share: float = 0.1,
    validation_from=None,
    test_from=None,
    seed: int = 0,
    num_shards: int = 8,
    memory_limit: str | None = None,
    overwrite: bool = False,
    verbose: bool = True,
    progress: Callable[[str, float | None], None] | None = None,
) -> dict[str, Any]:
    """Reads raw logs of any size, and writes filtered, sessionised and split rows to a folder.

    The work is done out of core by DuckDB, or by Spark. The folder appears whole or not at all:
    a run that is interrupted leaves nothing under its name. A run that would write what is
    already there writes nothing and says so.

    What is taken out is counted, by reason, in this order: rows with a problem; duplicates;
    sessions that cannot be; events of rare items; short sessions and sessions without the
    feedback that is required; what lies outside of the k-core; the beginnings of long rows. The
    vocabulary is made of what remains, the most frequent item first.

    Args:
        source: a file, a folder or a list of files of that format, or a DataFrame.
        folder: what to write.
        format: name of a reader in `keras_negrec.data.logs`.
        format_options: dict of what that reader takes, for example the rule of what is a skip.
        engine: `"duckdb"`, `"spark"`, or an Ibis connection to one of them.
        errors: `"raise"` raises on the first row with a problem, or session that cannot be:
            one in several files that is ordered by position, one of several users, one with two
            items at one position, one with fewer rows than it says. `"skip"` counts them and
            leaves them out, and also files that cannot be read: packed ones that are cut off,
            empty ones, those without a column that is needed.
        duplicates: what to do with events of the same item at the same position (or time, where
            there is no position) of the same session: `"drop"` keeps one, that with the
            strongest feedback, `"keep"` keeps all, `"raise"` raises.
        group_by: `"session"` for rows of one session each, `"user"` for rows of all sessions of
            a user.
        session_gap: number, in the unit of the log's times. A longer gap between two events of
            a session parts it in two.
        min_item_count: int. Items with fewer events are taken out.
        min_session_length: int. Shorter sessions are taken out.
        require_feedback: None, or take out sessions that do not have: `"any"` feedback other
            than unknown, `"negative"` feedback, or `"both"` negative and positive.
        k_core: int or None. Items and rows with fewer events are taken out, until there are none.
        max_length: int or None. Limits the training part of each row, and the history of rows
            that do not train.
        long_rows: what to do with the older events of longer rows: `"windows"` makes rows of
            them that only train (where the row trains), `"newest"` drops them.
        split: `"leave_one_out"`, as the function of that name; `"session"` to validate and test
            on whole rows, their last positive event being the target; `"time"` to train on what
            happened first: rows that are under way at a cut are cut there, rows that begin
            later are cut right after their last positive event but one; None to train on
            everything.
        validation_share, test_share: of rows for `"session"`, of events for `"time"`.
        validation_from, test_from: for `"time"`, in place of the shares: when the two periods
            begin. Numbers in the unit of the log's times, or dates (UTC).
        seed: int. Draws the order of rows, their shards, and those held out by `"session"`.
        num_shards: int, number of Parquet files.
        memory_limit: for DuckDB, for example `"2GB"`; by default most of the memory.
        overwrite: whether a folder that holds something else is replaced.
        verbose: whether to print what was kept and why the rest was dropped.
        progress: called with the name of each step and the share of it that is done, or None.

    Returns:
        The manifest, as it is in `manifest.json`.

    Raises:
        FileNotFoundError: a source that is not there.
        FileExistsError: the folder holds something else, with `overwrite=False`.
        ValueError: arguments out of range; what `errors` and `duplicates` say; nothing remains;
            no row can be held out.

    Example:

    >>> plays = pd.DataFrame({
    ...     "listener": ["ann"] * 4 + ["bob"] * 3, "track": [1, 2, 3, 4, 1, 4, 2],
    ...     "liked": [1, 1, -1, 1, 1, 1, -1],
    ... })
    >>> manifest = keras_negrec.data.prepare(
    ...     plays, "plays", num_shards=1,
    ...     format_options={"session": "listener", "item": "track", "feedback": "liked"},
    ... )
    plays: 2 rows, 7 events, 4 items; nothing was dropped
    train: 2 rows, 4 events; validation: 1 examples, 0 with a skip; test: 1 examples, 1 with a skip
    >>> manifest["counts"]["kept"]["events"]
    7
    """
    parameters = _check_parameters(
        format=format,
        format_options=format_options or {},
        errors=errors,
        duplicates=duplicates,
        group_by=group_by,
        session_gap=session_gap,
        min_item_count=min_item_count,
        min_session_length=min_session_length,
        require_feedback=require_feedback,
        k_core=k_core,
        max_length=max_length,
        long_rows=long_rows,
        split=split,
        validation_share=validation_share,
        test_share=test_share,
        validation_from=validation_from,
        test_from=test_from,
        seed=seed,
        num_shards=num_shards,
    )
    folder = Path(folder).absolute()
    scan = find_scan(format)
    tell = progress or (lambda step, share: None)
    sources = describe_sources(source)
    check_format_options(format, scan, format_options or {})
    request = {"parameters": as_json(parameters), "sources": sources}
    manifest = _already_there(folder, request, overwrite)
    if manifest is not None:
        if verbose:
            print(f"{folder.name}: already prepared from these sources with these parameters")
        return manifest

    with partial_folder(folder) as partial:
        work = partial / "work"
        work.mkdir()
        opened = open_engine(engine, work, memory_limit)
        try:
            with engine_errors(_name(source)):
                written = _write(opened, scan, source, len(sources) > 1, partial, parameters, tell)
        finally:
            opened.close()
        shutil.rmtree(work)
        manifest = {"schema_version": SCHEMA_VERSION, **request, **written}
        write_manifest(partial, manifest)
        publish(partial, folder)
    if verbose:
        print(prepare_report(manifest, folder.name))
    return manifest


def _name(source) -> str:
    return "the DataFrame" if isinstance(source, pd.DataFrame) else str(source)


def _check_parameters(**parameters) -> dict[str, Any]:
    choices = {
        "errors": ("raise", "skip"),
        "duplicates": ("drop", "keep", "raise"),
        "group_by": ("session", "user"),
        "require_feedback": (None, "any", "negative", "both"),
        "long_rows": ("windows", "newest"),
        "split": ("leave_one_out", "session", "time", None),
    }
    for name, values in choices.items():
        check_choice(name, parameters[name], values)
    for name in ("min_item_count", "min_session_length", "num_shards"):
        check_positive_int(name, parameters[name])
    for name in ("k_core", "max_length"):
        if parameters[name] is not None:
            check_positive_int(name, parameters[name])
    if parameters["session_gap"] is not None:
        check_positive_float("session_gap", parameters["session_gap"])
    shares = [check_fraction(name, parameters[name]) for name in ("validation_share", "test_share")]
    if sum(shares) >= 1:
        raise ValueError(
            "`validation_share` and `test_share` must leave something to train on. Received: "
            f"validation_share={shares[0]}, test_share={shares[1]}"
        )
    begins = [parameters["validation_from"], parameters["test_from"]]
    if begins != [None, None]:
        if parameters["split"] != "time" or None in begins:
            raise ValueError(
                '`validation_from` and `test_from` are for split="time", and go together. '
                f"Received: split={parameters['split']!r}, validation_from={begins[0]!r}, "
                f"test_from={begins[1]!r}"
            )
        begins = [_to_time(begin) for begin in begins]
        if begins[0] > begins[1]:
            raise ValueError(
                "`validation_from` must not be after `test_from`. Received: "
                f"{parameters['validation_from']!r} and {parameters['test_from']!r}"
            )
        parameters |= {"validation_from": begins[0], "test_from": begins[1]}
    return parameters


def _to_time(value) -> float:
    """A number, or seconds since 1970 of a date."""
    if isinstance(value, numbers.Real):
        return float(value)
    time = pd.Timestamp(value)
    return (time.tz_localize("UTC") if time.tz is None else time).timestamp()


def _already_there(folder: Path, request: dict, overwrite: bool) -> dict[str, Any] | None:
    """The manifest of a folder that holds what is asked for; None to go on and write it."""
    manifest = read_manifest(folder)
    if manifest is None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileExistsError(
                "`folder` must be new, empty or a prepared folder: this one holds something "
                f"without a manifest. Received: {folder}"
            )
        return None
    there = {"schema_version": manifest["schema_version"], "sources": manifest["sources"]}
    asked = {"schema_version": SCHEMA_VERSION, "sources": request["sources"]}
    there |= manifest["parameters"]
    asked |= request["parameters"]
    other = [name for name in asked if there.get(name) != asked[name]]
    if not other:
        return manifest
    if not overwrite:
        raise FileExistsError(
            f"{folder} was prepared with other {', '.join(other)}. Pass overwrite=True to replace "
            f"it. Received: { {name: asked[name] for name in other} }, there: "
            f"{ {name: there.get(name) for name in other} }"
        )
    return None


def _write(
    engine: Engine,
    scan: Scan,
    source,
    several_files: bool,
    folder: Path,
    parameters: dict[str, Any],
    tell: Callable[[str, float | None], None],
) -> dict[str, Any]:
    """Writes all but the manifest, and returns what it says."""
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
    num_read = {"events": log.num_read, "items": int(sessions.items.count().to_pyarrow().as_py())}

    tell("filtering", None)
    sessions, found = _filter(sessions, engine, parameters)
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

    tell("writing rows", 0.0)
    begins = _periods(sessions, parameters) if with_times else None
    cut = functools.partial(_cut, parameters=parameters, begins=begins)
    rows = to_rows(sessions, parameters["seed"], with_times)
    chunk = max(1, ROW_GROUP_EVENTS * num_rows // num_events)
    limits = {
        "cut": cut,
        "max_length": parameters["max_length"],
        "keep_windows": parameters["long_rows"] == "windows",
        "num_shards": parameters["num_shards"],
    }
    items = _count_items(sessions)
    if parameters["max_length"] is not None:  # Only what is left of long rows counts.
        counts = np.zeros(items["code"].max() + 1, "int64")
        for part in cut_rows(engine.batches(rows, chunk), **limits):
            counts += np.bincount(part.sessions.item_ids, minlength=len(counts))
        items["count"] = counts[items["code"]]
        items = items[items["count"] > 0]
    # The order of `Vocabulary.from_items`.
    items = items.sort_values("item").sort_values("count", ascending=False, kind="stable")
    ids = np.zeros(items["code"].max() + 1, "int32")
    ids[items["code"]] = np.arange(1, len(items) + 1)
    written = 0

    def count_written(events: int) -> None:
        nonlocal written
        written += events
        tell("writing rows", min(written / num_events, 1.0))

    (folder / "shards").mkdir()
    shards, totals = write_shards(
        cut_rows(engine.batches(rows, chunk), **limits),
        folder / "shards",
        ids=ids,
        num_shards=parameters["num_shards"],
        progress=count_written,
    )
    sync(folder / "shards")
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
    vocabulary = Vocabulary(items["item"].to_numpy())
    vocabulary.save(folder / "vocabulary.json")
    sync(folder / "vocabulary.json")
    _write_items(folder / "items.parquet", vocabulary, totals)
    kept = {"events": totals.events, "sessions": num_sessions, "rows": totals.rows}
    return {
        "counts": {
            "read": num_read,
            "kept": kept | {"items": len(vocabulary)},
            "dropped": [asdict(drop) for drop in dropped],
            "odd": odd,
            "unreadable_files": log.unreadable,
        },
        "split": split,
        "feedback": {str(value - 2): int(count) for value, count in enumerate(totals.feedback)},
        "negative_share": float(totals.feedback[:2].sum() / totals.events),
        "max_row_length": totals.max_row_length,
        "columns": ["item_ids", "feedback", *(["session_ids"] if by_user else [])],
        "vocabulary_sha256": vocabulary_hash(vocabulary.items.tolist()),
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


def _filter(
    sessions: SessionTable, engine: Engine, parameters: dict[str, Any]
) -> tuple[SessionTable, list[Dropped]]:
    dropped = []
    if parameters["min_item_count"] > 1:
        sessions, found = drop_rare_items(sessions, engine, parameters["min_item_count"])
        dropped += found
    if parameters["min_session_length"] > 1:
        least = parameters["min_session_length"]
        sessions, found = drop_sessions(
            sessions, lambda t: t.num_events >= least, f"sessions with fewer than {least} events"
        )
        dropped += found
    keep: dict[str | None, Callable] = {
        "any": lambda t: (lowest_feedback(t) < 0) | (highest_feedback(t) > 0),
        "negative": lambda t: lowest_feedback(t) < 0,
        "both": lambda t: (lowest_feedback(t) < 0) & (highest_feedback(t) > 0),
    }
    require = parameters["require_feedback"]
    if require is not None:
        reason = {
            "any": "sessions without any feedback",
            "negative": "sessions without negative feedback",
            "both": "sessions without both negative and positive feedback",
        }[require]
        sessions, found = drop_sessions(sessions, keep[require], reason)
        dropped += found
    if parameters["k_core"] is not None:
        sessions, found = drop_below_core(sessions, engine, parameters["k_core"])
        dropped += found
    return sessions, dropped


def _count_items(sessions: SessionTable) -> pd.DataFrame:
    """The remaining items with their codes and counts."""
    counts = sessions.events().group_by("code").agg(count=lambda t: t.count())
    table = counts.join(sessions.items, "code").select("item", "code", "count").to_pyarrow()
    frame = {name: table[name].to_numpy() for name in ("code", "count")}
    is_text = pa.types.is_string(table["item"].type) or pa.types.is_large_string(table["item"].type)
    items = pd.Series(table["item"].to_pylist(), dtype=object if is_text else "int64")
    return pd.DataFrame(frame | {"item": items})


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


def _write_items(path: Path, vocabulary: Vocabulary, totals: Totals) -> None:
    kind = pa.string() if vocabulary.is_string else pa.int64()
    table = pa.table(
        {
            "id": pa.array(np.arange(1, len(vocabulary) + 1), pa.int32()),
            "item": pa.array(vocabulary.items, kind),
            "count": pa.array(totals.count[1:], pa.int64()),
            "train_count": pa.array(totals.train_count[1:], pa.int64()),
            "train_positive_count": pa.array(totals.train_positive_count[1:], pa.int64()),
        }
    )
    pa.parquet.write_table(table, path, compression="zstd")
    sync(path)
