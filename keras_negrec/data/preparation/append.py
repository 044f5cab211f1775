"""A new part of a log, added to a prepared folder."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from keras_negrec.argument_checks import check_choice
from keras_negrec.data.preparation.known_file import describe_file
from keras_negrec.data.preparation.manifest import (
    ITEMS,
    VOCABULARY,
    describe_sources,
    known_files,
    read_manifest,
    write_manifest,
)
from keras_negrec.data.preparation.parameters import as_json
from keras_negrec.data.vocabulary import Vocabulary
from keras_negrec.partial_folder import partial_folder, publish

# What cannot be said of a part of a log: the folder's own values are for its first part.
_WHOLE_LOG = {
    "split": None,
    "validation_from": None,
    "test_from": None,
    "min_item_count": 1,
    "k_core": None,
}


def append(
    source,
    folder: str | Path,
    *,
    format_options: dict[str, Any] | None = None,
    errors: str | None = None,
    num_shards: int = 1,
    engine="duckdb",
    memory_limit: str | None = None,
    verbose: bool = True,
    progress: Callable[[str, float | None], None] | None = None,
) -> dict[str, Any]:
    """Adds a new part of a log, such as a day, to a folder that `prepare` wrote.

    Only the new part is read, by the rules of the folder. All its rows train; what the folder
    holds out stays held out. The vocabulary keeps its ids, and grows by the items that are new,
    the most frequent first. A session, or user, that was there before gets one more row.
    `min_item_count` and `k_core` are about a whole log: what is appended is not filtered by them.

    The folder is as before or has the whole part, also after a crash. A part that is there already,
    the same files or the same rows in the same order, is not added again.

    Args:
        source: what is new, in the format of the folder.
        folder: what `prepare` has written.
        format_options: those that `prepare` was given, where they hold a function: the folder
            knows its name alone. Else they are known.
        errors: `"raise"` or `"skip"`, as in `prepare`; None: as the folder was prepared.
        num_shards: how many files to write.
        engine, memory_limit, verbose, progress: as in `prepare`.

    Returns:
        The manifest of the folder. `parts` lists what was appended.

    Raises:
        FileNotFoundError: no such source, or no prepared folder.
        BlockingIOError: another run is writing the folder.
        ValueError: other format options than the folder's; a log of another kind of ids; a damaged
            folder; what `prepare` says of a log.

    Example:

    >>> columns = {"session": "listener", "item": "track", "feedback": "liked"}
    >>> monday = pd.DataFrame({"listener": ["ann"] * 3, "track": [1, 2, 3], "liked": [1, -1, 1]})
    >>> _ = keras_negrec.data.prepare(
    ...     monday, "week", format_options=columns, split=None, num_shards=1, verbose=False
    ... )
    >>> tuesday = pd.DataFrame({"listener": ["bob"] * 2, "track": [3, 4], "liked": [1, 1]})
    >>> _ = keras_negrec.data.append(tuesday, "week")
    week: 1 row, 2 events, 1 new item
    >>> keras_negrec.data.load_prepared("week").vocabulary.items
    array([1, 2, 3, 4])
    """
    from keras_negrec.data.logs.engine import engine_errors, open_engine
    from keras_negrec.data.logs.event_table import source_name
    from keras_negrec.data.logs.formats import check_format_options, find_scan
    from keras_negrec.data.preparation.write_folder import write_folder

    folder, sources = Path(folder).absolute(), describe_sources(source)
    with partial_folder(folder) as partial:
        manifest = read_manifest(folder)
        if manifest is None:
            why = "it has no manifest.json" if folder.exists() else "it is not there"
            raise FileNotFoundError(
                f"`folder` must be one that `prepare` has written, and {why}. Received: {folder}"
            )
        if sources in [manifest["sources"], *(part["sources"] for part in manifest["parts"])]:
            if verbose:
                print(f"{folder.name}: holds this part already")
            return manifest
        parameters = manifest["parameters"] | _WHOLE_LOG | {"num_shards": num_shards}
        if errors is not None:
            check_choice("errors", errors, ("raise", "skip"))
            parameters["errors"] = errors
        known = parameters["format_options"]
        if format_options is not None:
            if as_json(format_options) != known:
                raise ValueError(
                    f"`format_options` must be those of the folder, {known}. Received: "
                    f"{as_json(format_options)}"
                )
            parameters["format_options"] = format_options
        files = known_files(folder, manifest)
        for file in files.values():
            file.check_size()
        scan = find_scan(parameters["format"])
        check_format_options(parameters["format"], scan, parameters["format_options"])
        base, items = (files[name].checked() for name in (VOCABULARY, ITEMS))
        (partial / "work").mkdir()
        opened = open_engine(engine, partial / "work", memory_limit)
        try:
            with engine_errors(source_name(source)):
                written = write_folder(
                    opened,
                    scan,
                    source,
                    len(sources) > 1,
                    partial,
                    parameters,
                    progress or (lambda step, share: None),
                    Vocabulary.load(base),
                    len(manifest["shards"]),
                )
        finally:
            opened.close()
        shutil.rmtree(partial / "work")
        for shard in manifest["shards"]:
            _link(files[shard["file"]].path, partial / shard["file"])
        _add_counts(pd.read_parquet(items), partial / ITEMS)
        merged = _merged(manifest, written, sources)
        merged["files"] = [describe_file(partial / name, partial) for name in (VOCABULARY, ITEMS)]
        merged = write_manifest(partial, merged)
        publish(partial, folder)
    if verbose:
        part = merged["parts"][-1]
        counts = [(part["rows"], "row"), (part["events"], "event"), (part["items"], "new item")]
        words = ", ".join(f"{n:,} {noun}{'' if n == 1 else 's'}" for n, noun in counts)
        print(f"{folder.name}: {words}")
        for drop in written["counts"]["dropped"]:
            print(f"dropped: {drop['events']:,} events, {drop['reason']}")
    return merged


def _link(old: Path, new: Path) -> None:
    """The same file under a second name, or a copy where the disk cannot do that."""
    try:
        os.link(old, new)
    except OSError:
        shutil.copy2(old, new)


def _add_counts(old: pd.DataFrame, path: Path) -> None:
    table = pd.read_parquet(path)
    for name in ("count", "train_count", "train_positive_count"):
        table.loc[table.index[: len(old)], name] += old[name].to_numpy()
    table.to_parquet(path, index=False, compression="zstd")


def _merged(manifest: dict, written: dict, sources: list) -> dict[str, Any]:
    """The manifest of the folder and its new part, without `files` and the checksum."""
    counts, more = manifest["counts"], written["counts"]
    dropped: Counter = Counter()
    for each in (*counts["dropped"], *more["dropped"]):
        dropped.update({(each["reason"], name): each[name] for name in _DROPPED})
    train, own = manifest["split"]["train"], written["split"]["train"]
    kept = {name: counts["kept"][name] + more["kept"][name] for name in more["kept"]}
    feedback = {
        value: count + written["feedback"][value] for value, count in manifest["feedback"].items()
    }
    part = {
        "sources": sources,
        "shards": [shard["file"] for shard in written["shards"]],
        "rows": more["kept"]["rows"],
        "events": more["kept"]["events"],
        "items": more["kept"]["items"] - counts["kept"]["items"],
    }
    reasons = list(dict.fromkeys(reason for reason, _ in dropped))
    repeats = {}
    if "num_repeats" in manifest:  # which older folders do not have
        repeats["num_repeats"] = manifest["num_repeats"] + written["num_repeats"]
    return {name: value for name, value in manifest.items() if name != "sha256"} | {
        "counts": counts
        | {
            "read": {"events": counts["read"]["events"] + more["read"]["events"]}
            | {"items": more["kept"]["items"]},
            "kept": kept | {"items": more["kept"]["items"]},
            "dropped": [
                {"reason": reason} | {name: dropped[reason, name] for name in _DROPPED}
                for reason in reasons
            ],
            "odd": dict(Counter(counts["odd"]) + Counter(more["odd"])),
            "unreadable_files": counts["unreadable_files"] | more["unreadable_files"],
        },
        "split": manifest["split"] | {"train": {name: train[name] + own[name] for name in own}},
        "feedback": feedback,
        "negative_share": (feedback["-2"] + feedback["-1"]) / kept["events"],
        "max_row_length": max(manifest["max_row_length"], written["max_row_length"]),
        **repeats,
        "shards": manifest["shards"] + written["shards"],
        "parts": [*manifest["parts"], part],
    }


_DROPPED = ("events", "sessions", "items")
