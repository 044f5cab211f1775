"""From raw logs of any size to a folder that training reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_negrec.atomic_write import sync
from keras_negrec.data.event_columns import further_columns
from keras_negrec.data.preparation.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    describe_sources,
    find_prepared,
    partial_folder,
    publish,
)
from keras_negrec.data.preparation.parameters import as_json, check_parameters


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
        format, format_options: the name of a format, or a function that is one, and what it takes,
            for example the rule of what is a skip. See `read_log`.
        engine: what does the work: `"duckdb"`, `"spark"`, or an Ibis connection to one of them.
        errors: what an event with a problem, or a session that contradicts itself (where rows are
            sessions, also one of several users), does: `"raise"` ends the run with an error,
            `"skip"` counts it and leaves it out.
        duplicates: what becomes of an item that is twice at one position of a session: `"drop"`
            keeps one of the two, `"keep"` both, and `"raise"` ends the run with an error.
        group_by: what a row of the folder is: `"session"`, or `"user"` for the history of a user,
            all their sessions one after the other.
        session_gap: splits sessions at longer gaps, in the unit of the log's times (seconds where
            it has dates).
        min_item_count, min_session_length: takes out items and sessions with fewer events.
        require_feedback: takes out sessions that do not have `"any"` feedback other than unknown,
            `"negative"` feedback, or `"both"` negative and positive.
        k_core: takes out items and rows with fewer events, until there are none.
        max_length: limits what trains of each row, and the history of rows that do not train.
        long_rows: what to do with the older events of longer rows: `"windows"` makes rows of
            them that only train (where the row trains), `"newest"` drops them.
        split: what is held out. `"leave_one_out"`: the last positive events of each row, as the
            function of that name does. `"session"`: whole rows, their last positive event being
            the target. `"time"`: what happened last; rows under way at a cut are cut there, rows
            that begin later right after their last positive event but one. None: nothing.
        validation_share, test_share: how much of rows (split `"session"`) or events (`"time"`).
        validation_from, test_from: for split `"time"`, in place of the shares: when the two
            periods begin. Numbers in the unit of the log's times, or dates (UTC).
        seed: draws the order of rows, their shards, and those held out by split `"session"`.
        num_shards: how many Parquet files to write.
        memory_limit: how much DuckDB may take, for example `"2GB"`; by default most of the memory.
        overwrite: whether a folder that holds something else is replaced.
        verbose: whether to print what was kept and why the rest was dropped.
        progress: called with the name of each step and the share of it that is done, or None.

    Returns:
        The manifest, as it is in `manifest.json`.

    Raises:
        FileNotFoundError: a source that is not there.
        FileExistsError: the folder holds something else, with `overwrite=False`.
        ValueError: bad arguments; what `errors` and `duplicates` say; nothing remains or can be
            held out.

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
        "schema_version": SCHEMA_VERSION,
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
        manifest = request | written
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        (partial / MANIFEST).write_text(text + "\n", "utf-8")
        sync(partial / MANIFEST)
        sync(partial)
        publish(partial, folder)
    if verbose:
        print(_report(manifest, folder.name))
    return manifest


def _report(manifest: dict[str, Any], name: str) -> str:
    """What was kept and why the rest was dropped, in words."""

    def listed(counts: dict[str, Any], *nouns: str) -> str:
        return ", ".join(f"{counts[noun]:,} {noun}" for noun in nouns if counts[noun])

    counts, split = manifest["counts"], manifest["split"]
    lines = [f"{name}: " + listed(counts["kept"], "rows", "events", "items")]
    lines += [f"left out: {message}" for message in counts["unreadable_files"].values()]
    if not counts["dropped"] and not counts["unreadable_files"]:
        lines[0] += "; nothing was dropped"
    for drop in counts["dropped"]:
        lines.append(f"dropped {listed(drop, 'events', 'sessions', 'items')}: {drop['reason']}")
    lines += [f"kept, but odd: {count:,} {what}" for what, count in counts["odd"].items() if count]
    line = "train: " + listed(split["train"], "rows", "events")
    for part in ("validation", "test"):
        numbers = [split[part][key] for key in ("examples", "with_skip", "targets_not_in_training")]
        line += f"; {part}: {numbers[0]:,} examples, {numbers[1]:,} with a skip"
        line += f", {numbers[2]:,} of items not in training" if numbers[2] else ""
    return "\n".join([*lines, line])
