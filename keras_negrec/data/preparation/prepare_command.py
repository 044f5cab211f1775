"""The command `prepare`."""

from __future__ import annotations

import argparse
import inspect
import json
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from keras_negrec.data.logs.event_table import scan_formats
from keras_negrec.data.preparation.prepare import prepare
from keras_negrec.data.preparation.prepare_report import prepare_report

_DEFAULTS = {
    name: parameter.default for name, parameter in inspect.signature(prepare).parameters.items()
}


def add_prepare_command(commands) -> None:
    """Adds the command and its options, which are the arguments of `prepare`."""
    parser = commands.add_parser(
        "prepare",
        help="raw logs to a folder that training reads",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--format", choices=scan_formats(), required=True)
    parser.add_argument("--input", nargs="+", required=True, help="files, or a folder of them")
    parser.add_argument("--output", required=True, help="folder to write")

    def add(name: str, **settings) -> None:
        parser.add_argument(f"--{name.replace('_', '-')}", default=_DEFAULTS[name], **settings)

    parser.add_argument(
        "--format-options",
        type=_json_object,
        default={},
        metavar="JSON",
        help='what the reader of the format takes, for example \'{"feedback": "skip_1"}\'',
    )
    add("engine", choices=("duckdb", "spark"))
    add("errors", choices=("raise", "skip"), help="rows with a problem")
    add("duplicates", choices=("drop", "keep", "raise"))
    add("group_by", choices=("session", "user"), help="what a row is")
    add("session_gap", type=float, help="a longer gap parts a session")
    add("min_item_count", type=int, help="rarer items are taken out")
    add("min_session_length", type=int, help="shorter sessions are taken out")
    add("require_feedback", choices=("any", "negative", "both"), help="of a session")
    add("k_core", type=int, help="events that items and rows must at least have")
    add("max_length", type=int, help="of the part of a row that trains")
    add("long_rows", choices=("windows", "newest"), help="what longer rows become")
    add("split", type=_split, help="leave_one_out, session, time or none")
    add("validation_share", type=float)
    add("test_share", type=float)
    add("validation_from", type=_time, help="number or date at which validation begins")
    add("test_from", type=_time, help="number or date at which the test begins")
    add("seed", type=int)
    add("num_shards", type=int, help="Parquet files")
    add("memory_limit", help="of DuckDB, for example 2GB")
    parser.add_argument("--overwrite", action="store_true", help="replace what the folder holds")
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
    names = [name for name in _DEFAULTS if name in vars(given)]
    settings = {name: getattr(given, name) for name in names}
    source = given.input[0] if len(given.input) == 1 else given.input
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    done = "already prepared from these sources with these parameters"
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(step: str, share: float | None) -> None:
            nonlocal done
            done = ""
            if step not in tasks:
                for task in tasks.values():
                    progress.update(task, total=1, completed=1)
                tasks[step] = progress.add_task(step, total=None)
            if share is not None:
                progress.update(tasks[step], total=1, completed=share)

        manifest = prepare(source, given.output, **settings, verbose=False, progress=tell)
    name = Path(given.output).name
    print(f"{name}: {done}" if done else prepare_report(manifest, name))
