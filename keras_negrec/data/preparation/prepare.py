"""From raw logs of any size to a folder that training reads."""

from __future__ import annotations

import contextlib
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_negrec.data.event_columns import further_columns
from keras_negrec.data.preparation.manifest import (
    SCHEMA_VERSION,
    appended_parts,
    describe_sources,
    find_prepared,
    write_manifest,
)
from keras_negrec.data.preparation.parameters import as_json, check_parameters
from keras_negrec.data.preparation.report import report
from keras_negrec.partial_folder import partial_folder, publish


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

    The work is done out of core by DuckDB, or by Spark; `engine` may also be an Ibis connection to
    one of them. The folder appears whole or not at all, and is written by one run at a time: one
    that is interrupted leaves under its name what was there. A run that would write what is
    already there checks that it is whole, writes nothing and says so.

    What is taken out is counted, by reason, in this order: events with a problem; duplicates;
    sessions that contradict themselves; events of rare items; short sessions and sessions without
    the feedback that is required; what lies outside of the k-core; the beginnings of long rows.

    The vocabulary is made of the items that remain, those that train most often first; equally
    frequent ones are in the order of their ids. Held-out events have no say in that order, on which
    log-uniform negative sampling relies.

    Args:
        source: a file, a folder or a list of files of that format, or a DataFrame.
        folder: the folder to write.
        format, format_options: the name of a format, or a function that is one, and what it takes,
            for example the rule of what is a skip. See `read_log`.
        engine: the engine that does the work.
            - `"duckdb"`: on this machine; what does not fit in memory goes to the disk.
            - `"spark"`: needs pip install 'keras-negrec[spark]'.
        errors: what to do with an event that has a problem, or a session that contradicts itself.
            - `"raise"`: stop with an error that names the first one.
            - `"skip"`: count it and leave it out.
        duplicates: what to do with an item that is twice at one position or time of a session.
            - `"drop"`: keep the one with the stronger feedback.
            - `"keep"`: keep both.
            - `"raise"`: stop with an error.
        group_by: what one row of the folder is.
            - `"session"`: one session.
            - `"user"`: the history of one user, all their sessions one after the other.
        session_gap: start a new session after a longer gap between two events, in seconds where
            the log has dates, else in the unit of its times. By default, sessions are not cut.
        min_item_count: drop items with fewer events than this.
        min_session_length: drop sessions with fewer events than this.
        require_feedback: drop sessions without this feedback. By default, none is required.
            - `"any"`: feedback other than unknown.
            - `"negative"`: a skip or a dislike.
            - `"both"`: negative and positive feedback.
        k_core: drop items and rows with fewer events than this, again and again until none has
            fewer. By default, no limit.
        max_length: limit the events of a row that train, and the history of a row that does not
            train. By default, no limit.
        long_rows: what to do with the older events of rows that are longer than `max_length`.
            - `"windows"`: make rows of them that only train, where the row trains.
            - `"newest"`: drop them.
        split: what to hold out for validation and test.
            - `"leave_one_out"`: the last positive event of a row tests, the one before validates;
              rows with fewer than three only train.
            - `"session"`: whole rows, drawn at random; the last positive event is the target.
            - `"time"`: what happened last. Rows under way at a cut are cut there, rows that begin
              later right after their last positive event but one.
            - None: nothing.
        validation_share: the share that validates, from 0 to 1, of rows (`split="session"`) or of
            events (`split="time"`).
        test_share: the share that tests, from 0 to 1, counted in the same way.
        validation_from: when validation begins, in place of the shares (`split="time"`): a date
            (UTC) such as 2024-05-01, or a number in the unit of the log's times.
        test_from: when the test begins, in the same way; the two go together.
        seed: a number that decides the order of rows, their shards, and which rows
            `split="session"` holds out.
        num_shards: how many Parquet files to write.
        memory_limit: the most memory that DuckDB may take, for example `"2GB"`. By default, most of
            the machine's.
        overwrite: replace a folder that was prepared in another way, or repair one that is damaged.
        verbose: whether to print what was kept and why the rest was dropped.
        progress: called with the name of each step and the share of it that is done, or None.

    Returns:
        The manifest, as it is in `manifest.json`.

    Raises:
        FileNotFoundError: a source that is not there.
        FileExistsError: the folder holds something else, with `overwrite=False`.
        BlockingIOError: another run is writing the folder.
        ValueError: bad arguments; what `errors` and `duplicates` say; nothing remains or can be
            held out; the folder is damaged, with `overwrite=False`.

    Example:

    >>> plays = pd.DataFrame({
    ...     "listener": ["ann"] * 4 + ["bob"] * 3, "track": [1, 2, 3, 4, 1, 4, 2],
    ...     "liked": [1, 1, -1, 1, 1, 1, -1],
    ... })
    >>> manifest = keras_negrec.data.prepare(
    ...     plays, "plays", num_shards=1,
    ...     format_options={"session": "listener", "item": "track", "feedback": "liked"},
    ... )
    plays: 2 rows, 7 events, 4 items
    Nothing was dropped.
    Training has 4 events of 2 rows.
    held out        examples    with a skip    of items not in training
    validation             1              0                           0
    test                   1              1                           0
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
        "schema_version": SCHEMA_VERSION,
        "parameters": as_json(parameters | {"event_columns": columns}),
        "sources": sources,
    }
    there = find_prepared(folder, request, overwrite)
    with contextlib.ExitStack() as stack:
        if there is None:
            partial = stack.enter_context(partial_folder(folder))
            there = find_prepared(folder, request, overwrite)  # Another run may have ended since.
        if there is not None:
            if verbose:
                print(f"{folder.name}: already prepared from these sources with these parameters")
            return there
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
        manifest = write_manifest(partial, request | written | {"parts": []})
        lost = appended_parts(folder)
        publish(partial, folder)
    if lost:
        warnings.warn(
            f"What had been appended to {folder} is not in the new folder: append it again. Parts: "
            f"{len(lost)}, the first: {lost[0]['sources'][:2]}",
            stacklevel=2,
        )
    if verbose:
        print(report(manifest, folder.name))
    return manifest
