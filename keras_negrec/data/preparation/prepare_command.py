"""The command `prepare`. Nothing heavy loads before it runs, so that its help is there at once."""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import io
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from typing import Any

from keras_negrec.data.logs.formats import FORMATS
from keras_negrec.data.preparation.parameters import CHOICES
from keras_negrec.data.preparation.prepare import prepare

_PARAMETERS = inspect.signature(prepare).parameters
_SETTINGS = [n for n in _PARAMETERS if n not in ("source", "folder", "verbose", "progress")]
_WITH_DEFAULT = {*_SETTINGS} - {"format", "format_options", "overwrite"}
_GROUPS = {
    "what is read": ("format", "input", "format_options", "errors", "duplicates"),
    "what is kept": ("min_item_count", "min_session_length", "require_feedback", "k_core"),
    "how it is cut into rows": ("group_by", "session_gap", "max_length", "long_rows"),
    "how it is split": ("split", "validation_share", "test_share", "validation_from", "test_from"),
    "how it is written": ("output", "overwrite", "seed", "num_shards", "engine", "memory_limit"),
}
_FORMAT = """What the log is.
frame: any table, as CSV or Parquet files; --format-options names its columns.
kuairand: KuaiRand's log_*.csv.
lastfm1k: Last.fm-1K's userid-timestamp-*.tsv.
movielens: MovieLens' ratings.dat, ratings.csv or u.data, or *.inter files.
mssd: the Spotify Skip Prediction log_*.csv.
sequences: text with a line "user item item ..." for each user.
yambda: Yambda's Parquet files."""
_COLUMNS = """'{"session": "listener", "item": "track"}'"""
_EXAMPLE = """\
example, for a table with the columns listener, track, at and skipped:
  python -m keras_negrec.data prepare --input plays.csv --output plays \\
      --format frame --format-options '{
        "session": "listener", "item": "track", "timestamp": "at",
        "feedback": {"column": "skipped", "values": {"true": -1, "false": 1}}}'"""


def add_prepare_command(commands) -> None:
    """Adds the command and its options, which are the arguments of `prepare`."""
    parser = commands.add_parser(
        "prepare",
        help="write a folder to train on from a raw log",
        usage="%(prog)s [OPTION ...]\n"
        "           --format FORMAT --input PATH [PATH ...] --output FOLDER",
        description="Reads a raw log of any size, and writes filtered sessions with their split to "
        "a\nfolder that training reads. The folder appears whole or not at all.",
        epilog=_EXAMPLE,
    )
    texts, kinds = _texts(), _kinds()
    for title, names in _GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names:
            option = {"help": texts.get(name, "")} | kinds.get(name, {})
            default = _PARAMETERS[name].default if name in _WITH_DEFAULT else None
            if default is not None:
                first, *choices = option["help"].split("\n")
                option["help"] = "\n".join([f"{first} Default: {default}.", *choices])
                option["default"] = default
            group.add_argument(f"--{name.replace('_', '-')}", **option)
    parser.set_defaults(run=_run)


def _kinds() -> dict[str, dict[str, Any]]:
    """What argparse is told of the options, beside the text and the default."""
    kinds: dict[str, dict[str, Any]] = {
        "format": {"choices": FORMATS, "metavar": "FORMAT", "required": True, "help": _FORMAT},
        "input": {
            "nargs": "+",
            "metavar": "PATH",
            "required": True,
            "help": "The files of the log, or a folder of them.",
        },
        "output": {"metavar": "FOLDER", "required": True},
        "format_options": {
            "type": _json_object,
            "default": {},
            "metavar": "JSON",
            "help": "What the reader of the format takes, such as the columns of a table (see the "
            "example below) or the rule of what is a skip.",
        },
        "overwrite": {"action": "store_true"},
        "engine": {"choices": ("duckdb", "spark")},
        "session_gap": {"type": float, "metavar": "SECONDS"},
        "memory_limit": {"metavar": "SIZE"},
    }
    for name in ("min_item_count", "min_session_length", "k_core", "max_length"):
        kinds[name] = {"type": int, "metavar": "EVENTS"}
    for name in ("seed", "num_shards"):
        kinds[name] = {"type": int, "metavar": "NUMBER"}
    for name in ("validation", "test"):
        kinds[f"{name}_share"] = {"type": float, "metavar": "SHARE"}
        kinds[f"{name}_from"] = {"type": _time, "metavar": "TIME"}
    for name, values in CHOICES.items():
        kinds[name] = {"choices": [value or "none" for value in values]}
    return kinds


def _texts() -> dict[str, str]:
    """What the docstring of `prepare` says of each argument, with a line for each choice."""
    arguments = (inspect.getdoc(prepare) or "").partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", arguments, re.MULTILINE)
    texts = {"output" if name == "folder" else name: text for name, text in found}
    for name, text in texts.items():
        text = re.sub(r"\n +- ", "\n", re.sub(r"\n +(?![ -])", " ", text))
        text = re.sub('`"?|"?`', "", _in_options(text)).replace("\nNone:", "\nnone:")
        texts[name] = text[0].upper() + text[1:]
    return texts


def _json_object(text: str) -> dict:
    try:
        found, why = json.loads(text), "another type"
    except json.JSONDecodeError as error:
        found, why = None, str(error)
    if isinstance(found, dict):
        return found
    raise argparse.ArgumentTypeError(
        f"expected a JSON object such as {_COLUMNS}. Received ({why}): {text}"
    )


def _time(text: str) -> float | str:
    with contextlib.suppress(ValueError):
        return float(text)
    return text


def _run(given: argparse.Namespace) -> None:
    settings = {name: getattr(given, name) for name in _SETTINGS}
    for name in CHOICES:
        settings[name] = None if settings[name] == "none" else settings[name]
    source = given.input[0] if len(given.input) == 1 else given.input
    report = io.StringIO()  # printed once the progress is no longer shown
    try:
        with _progress() as tell, contextlib.redirect_stdout(report):
            prepare(source, given.output, **settings, progress=tell)
    except (ValueError, OSError) as error:
        if ".partial" in str(getattr(error, "filename", "")):
            raise ValueError(f"--output {given.output} cannot be written: {error}") from error
        message = _in_options(str(error).replace(" (in a shell: --overwrite)", ""))
        lacks_column = "is missing. Received columns" in message
        if given.format == "frame" and (lacks_column or message.startswith("--format-options")):
            message += f". For example: --format-options {_COLUMNS}"
        elif lacks_column:
            message += ". Any table can be read with --format frame"
        raise ValueError(message) from error
    print(report.getvalue(), end="")
    print(_NEXT.format(shlex.quote(given.output), json.dumps(given.output, ensure_ascii=False)))


_NEXT = """
Next, look at it:
  python -m keras_negrec.data inspect {}
or train on it, in Python:
  import keras_negrec as kn
  prepared = kn.data.load_prepared({})
  model = kn.build_model("sasrec", vocabulary=prepared.vocabulary)
  model.fit(model.training_dataset(prepared), epochs=5, shuffle=False)"""


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, float | None], None]]:
    """Shows the step under way: in one line of a terminal, or elsewhere in a line for each."""
    if not sys.stderr.isatty():
        told: set[str] = set()

        def tell(step: str, share: float | None) -> None:
            if step not in told:
                print(f"{step} ...", file=sys.stderr, flush=True)
            told.add(step)

        yield tell
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def show(step: str, share: float | None) -> None:
            text = step if share is None else f"{step}: {share:.0%}"
            progress.update(task, description=text)

        yield show


def _in_options(message: str) -> str:
    """A message of `prepare` in the words of the command: `errors="skip"` is `--errors skip`."""

    def option(found: re.Match) -> str:
        value = (found[3] or "True").strip("\"'").replace("None", "none")
        name = f"--{(found[1] or found[2]).replace('_', '-')}"
        return name if value == "True" else f"{name} {value}"

    def rule(found: re.Match) -> str:
        with contextlib.suppress(ValueError, SyntaxError):
            return f'"feedback": {json.dumps(ast.literal_eval(found[1]), ensure_ascii=False)}'
        return found[0]

    names = "|".join([*_SETTINGS, "folder", "source"])
    value = r"""'[^']*'|"[^"]*"|[\w.:-]*\w"""
    pattern = rf"(?<!column )`({names})`|\b({names})=({value})"
    message = re.sub(pattern, option, message)
    message = re.sub(r"\bfeedback=(\{.*?\}\}|'[^']*')", rule, message)
    return message.replace("--folder", "--output").replace("--source", "--input")
