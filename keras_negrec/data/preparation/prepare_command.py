"""The command `prepare`. Nothing heavy loads before it runs, so that its help is there at once."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import json
import re
from typing import Any

from keras_negrec.data.preparation.parameters import CHOICES
from keras_negrec.data.preparation.prepare import prepare

_PARAMETERS = inspect.signature(prepare).parameters
_SETTINGS = [n for n in _PARAMETERS if n not in ("source", "folder", "verbose", "progress")]
_OPTIONS = [name for name in _SETTINGS if name not in ("format", "format_options", "overwrite")]


def add_prepare_command(commands) -> None:
    """Adds the command and its options, which are the arguments of `prepare`."""
    parser = commands.add_parser(
        "prepare",
        help="write a training folder from a raw log",
        description="Reads a raw log of any size, and writes filtered sessions with their split "
        "to a folder that training reads.",
    )
    parser.add_argument(
        "--format",
        required=True,
        help="what the log is: frame (any CSV or Parquet), kuairand, lastfm1k, movielens, mssd, "
        "sequences or yambda",
    )
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
    types: dict[str, Any] = {"split": lambda text: None if text == "none" else text}
    types |= {"validation_from": _time, "test_from": _time}
    choices = CHOICES | {"engine": ("duckdb", "spark"), "split": ()}
    texts = _texts()
    for name in _OPTIONS:
        default, annotation = _PARAMETERS[name].default, str(_PARAMETERS[name].annotation)
        plain = {"int": int, "float": float}.get(annotation.split(" ")[0], str)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=default,
            type=types.get(name, plain),
            choices=[choice for choice in choices.get(name, ()) if choice] or None,
            help=texts[name] if default is None else f"{texts[name]} Default: {default}.",
        )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the folder if it holds something else"
    )
    parser.set_defaults(run=_run)


def _texts() -> dict[str, str]:
    """What the docstring of `prepare` says of each argument."""
    arguments = (inspect.getdoc(prepare) or "").partition("Args:\n")[2].partition("\n\n")[0]
    arguments = re.sub('`"?|"?`', "", arguments).replace(" None", " none")
    found = re.findall(r"^    (\w[\w, ]*): (.*(?:\n     .*)*)", arguments, re.MULTILINE)
    texts = {name: " ".join(text.split()) for names, text in found for name in names.split(", ")}
    return dict.fromkeys(_OPTIONS, "") | texts


def _json_object(text: str) -> dict:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"no JSON ({error}): {text}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"no JSON object: {text}")
    return found


def _time(text: str) -> float | str:
    with contextlib.suppress(ValueError):
        return float(text)
    return text


def _run(given: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    settings = {name: getattr(given, name) for name in _SETTINGS}
    source = given.input[0] if len(given.input) == 1 else given.input
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    tasks: dict[str, Any] = {}
    report = io.StringIO()  # printed once the progress is no longer shown
    progress = Progress(*columns, console=Console(stderr=True), transient=True)

    def tell(step: str, share: float | None) -> None:
        if step not in tasks:
            for task in tasks.values():
                progress.update(task, total=1, completed=1)
            tasks[step] = progress.add_task(step, total=None)
        if share is not None:
            progress.update(tasks[step], total=1, completed=share)

    try:
        with progress, contextlib.redirect_stdout(report):
            prepare(source, given.output, **settings, progress=tell)
    except (ValueError, OSError) as error:
        raise ValueError(_in_options(str(error))) from error
    print(report.getvalue(), end="")


def _in_options(message: str) -> str:
    """A message of `prepare` to a user of the command: `errors="skip"` is `--errors skip`."""

    def option(found: re.Match) -> str:
        name = f"--{(found[1] or found[2]).replace('_', '-')}"
        return f"{name} {found[3]}" if found[3] else name

    names = "|".join([*_SETTINGS, "folder"])
    pattern = rf'(?<!column )`({names})`|\b({names})=(?:True|"(\w+)")'
    return re.sub(pattern, option, message).replace("--folder", "--output")
