"""From raw logs of any size to a folder that training reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_negrec.data.event_columns import further_columns
from keras_negrec.data.preparation.function_digest import as_json
from keras_negrec.data.preparation.manifest import (
    SCHEMA_VERSION,
    describe_sources,
    find_prepared,
    write_manifest,
)
from keras_negrec.data.preparation.parameters import check_parameters
from keras_negrec.data.preparation.partial_folder import partial_folder, publish
from keras_negrec.data.preparation.prepare_report import prepare_report


def prepare(
    source,
    folder: str | Path,
    *,
    format: str | Callable[..., Any] = "frame",
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
    """Reads raw logs of any size, and writes filtered sessions with their split to a folder.

    The work is done out of core by DuckDB, or by Spark. The folder appears whole or not at all:
    a run that is interrupted leaves nothing under its name. A run that would write what is
    already there writes nothing and says so.

    What is taken out is counted, by reason, in this order: events with a problem; duplicates;
    sessions that contradict themselves; events of rare items; short sessions and sessions without
    the feedback that is required; what lies outside of the k-core; the beginnings of long rows.

    The vocabulary is made of the items that remain, those that train most often first; equally
    frequent ones are in the order of their ids. Held-out events have no say in that order, on which
    log-uniform negative sampling relies.

    Args:
        source: a file, a folder or a list of files of that format, or a DataFrame.
        folder: what to write.
        format: the name of a format, or a function that is one, as `read_log` takes it.
        format_options: dict of what that format takes, for example the rule of what is a skip.
        engine: `"duckdb"`, `"spark"`, or an Ibis connection to one of them.
        errors: `"raise"` or `"skip"`, as in `read_log`. Where rows are sessions, one of several
            users contradicts itself too.
        duplicates: `"drop"`, `"keep"` or `"raise"`, as in `read_log`.
        group_by: what a row of the folder is: `"session"`, or `"user"` for the history of a user,
            all their sessions one after the other.
        session_gap: number, in the unit of the log's times. A longer gap between two events
            splits a session in two.
        min_item_count: int. Items with fewer events are taken out.
        min_session_length: int. Shorter sessions are taken out.
        require_feedback: None, or take out sessions that do not have: `"any"` feedback other
            than unknown, `"negative"` feedback, or `"both"` negative and positive.
        k_core: int or None. Items and rows with fewer events are taken out, until there are none.
        max_length: int or None. Limits the part of each row that trains, and the history of rows
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
    given = dict(locals())
    # Loads the engine: whoever asks for the arguments of this function alone needs none.
    from keras_negrec.data.logs.engine import engine_errors, open_engine
    from keras_negrec.data.logs.event_table import source_name
    from keras_negrec.data.logs.formats import check_format_options, find_scan
    from keras_negrec.data.preparation.write_folder import write_folder

    for name in ("source", "folder", "engine", "memory_limit", "overwrite", "verbose", "progress"):
        del given[name]  # What does not change the folder.
    parameters = check_parameters(given | {"format_options": format_options or {}})
    folder = Path(folder).absolute()
    scan = find_scan(format)
    tell = progress or (lambda step, share: None)
    sources = describe_sources(source)
    check_format_options(format, scan, parameters["format_options"])
    columns = {column.name: [column.log_column, column.dtype] for column in further_columns()}
    request = {
        "parameters": as_json(parameters | {"event_columns": columns}),
        "sources": sources,
    }
    manifest = find_prepared(folder, request, overwrite)
    if manifest is not None:
        if verbose:
            print(f"{folder.name}: already prepared from these sources with these parameters")
        return manifest

    with partial_folder(folder) as partial:
        work = partial / "work"
        work.mkdir()
        opened = open_engine(engine, work, memory_limit)
        try:
            with engine_errors(source_name(source)):
                written = write_folder(
                    opened, scan, source, len(sources) > 1, partial, parameters, tell
                )
        finally:
            opened.close()
        shutil.rmtree(work)
        manifest = {"schema_version": SCHEMA_VERSION, **request, **written}
        write_manifest(partial, manifest)
        publish(partial, folder)
    if verbose:
        print(prepare_report(manifest, folder.name))
    return manifest
