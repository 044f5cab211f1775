"""The command `prepare`. Nothing heavy loads before it runs, so that its help is there at once."""

from __future__ import annotations

import argparse
import inspect
import json
from pathlib import Path
from typing import Any

from keras_negrec.data.preparation.parameters import CHOICES
from keras_negrec.data.preparation.prepare import prepare
from keras_negrec.data.preparation.prepare_report import prepare_report

FORMATS = "frame (any CSV or Parquet), kuairand, lastfm1k, movielens, mssd, sequences or yambda"

_OPTIONS = {
    "engine": "what does the work",
    "errors": "what an event with a problem, or a session that contradicts itself, does: end the "
    "run with an error, or be counted and left out",
    "duplicates": "what becomes of an item that is twice at one position of a session: one of the "
    "two is dropped, both are kept, or the run ends with an error",
    "group_by": "what a row of the folder is: one session, or the whole history of a user",
    "session_gap": "splits sessions at gaps longer than this, in the unit of the log's times "
    "(seconds where it has dates)",
    "min_item_count": "removes items with fewer events than this",
    "min_session_length": "removes sessions with fewer events than this",
    "require_feedback": "takes out the sessions without any feedback, without a skip, or without "
    "both a skip and something kept",
    "k_core": "takes out the items and rows with fewer events, until all have as many",
    "max_length": "how many events of a row may train; longer rows are shortened",
    "long_rows": "what becomes of the older events of longer rows: rows of their own that only "
    "train, or nothing",
    "split": "how to hold out what is to be ranked: leave_one_out (the last kept items of each "
    "row), session (whole rows), time (what happened last), or none",
    "validation_share": "the share held out to choose by, for --split session or time",
    "test_share": "the share held out to report, for --split session or time",
    "validation_from": "the number or date at which validation begins, for --split time",
    "test_from": "the number or date at which the test begins, for --split time",
    "seed": "draws the order of the rows, and which of them --split session holds out",
    "num_shards": "how many Parquet files to write",
    "memory_limit": "how much memory DuckDB may take, for example 2GB",
}


def add_prepare_command(commands) -> None:
    """Adds the command and its options, which are the arguments of `prepare`."""
    parser = commands.add_parser(
        "prepare",
        help="write a training folder from a raw log",
        description="Reads a raw log of any size, and writes filtered sessions with their split "
        "to a folder that training reads.",
    )
    parser.add_argument("--format", required=True, help=f"what the log is: {FORMATS}")
    parser.add_argument(
        "--input", nargs="+", required=True, help="the files of the log, or a folder of them"
    )
    parser.add_argument("--output", required=True, help="the folder to write")
    parser.add_argument(
        "--format-options",
        type=_json_object,
        default={},
        metavar="JSON",
        help="what the reader of the format takes, for example the columns of a table: "
        '\'{"session": "listener", "item": "track", "feedback": "rating"}\'',
    )
    parameters = inspect.signature(prepare).parameters
    types: dict[str, Any] = {"split": _split, "validation_from": _time, "test_from": _time}
    types |= dict.fromkeys(("session_gap", "validation_share", "test_share"), float)
    counts = ("min_item_count", "min_session_length", "k_core", "max_length", "seed", "num_shards")
    types |= dict.fromkeys(counts, int)
    choices = CHOICES | {"engine": ("duckdb", "spark")}
    for name, text in _OPTIONS.items():
        default = parameters[name].default
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=default,
            type=types.get(name, str),
            choices=None if name in types else [c for c in choices.get(name, ()) if c] or None,
            help=text if default is None else f"{text} (default: {default})",
        )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the folder if it holds something else"
    )
    parser.set_defaults(run=_run)


def _json_object(text: str) -> dict:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"no JSON ({error}): {text}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"no JSON object: {text}")
    return found


def _split(text: str) -> str | None:
    return None if text == "none" else text


def _time(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _run(given: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    names = ["format", "format_options", "overwrite", *_OPTIONS]
    settings = {name: getattr(given, name) for name in names}
    source = given.input[0] if len(given.input) == 1 else given.input
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=console, transient=True) as progress:

        def tell(step: str, share: float | None) -> None:
            if step not in tasks:
                for task in tasks.values():
                    progress.update(task, total=1, completed=1)
                tasks[step] = progress.add_task(step, total=None)
            if share is not None:
                progress.update(tasks[step], total=1, completed=share)

        manifest = prepare(source, given.output, **settings, verbose=False, progress=tell)
    name = Path(given.output).name
    done = f"{name}: already prepared from these sources with these parameters"
    print(prepare_report(manifest, name) if tasks else done)
