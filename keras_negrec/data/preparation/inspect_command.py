"""The command `inspect`: a page about a prepared folder, and the same as a figure."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_negrec.data.preparation.prepare import prepare
from keras_negrec.data.preparation.report import count, dropped_lines, repeats, split_lines, wrap

if TYPE_CHECKING:  # It loads NumPy, for which the help need not wait.
    from keras_negrec.data.preparation.folder_statistics import FolderStatistics

_EXAMPLE = """\
example:
  python -m keras_negrec.data inspect plays --figure plays.png"""


def add_inspect_command(commands) -> None:
    """Adds the command and its options."""
    parser = commands.add_parser(
        "inspect",
        help="show what a prepared folder holds",
        description="Prints a page about a prepared folder: how large it is, how it was prepared\n"
        "and what was dropped, how often events are skipped, how long rows are, how\n"
        "unequal the items are, how many events repeat an item, and what is held out.",
        epilog=_EXAMPLE,
    )
    parser.add_argument("folder", metavar="FOLDER", help="A folder that `prepare` has written.")
    parser.add_argument(
        "--figure",
        metavar="FILE",
        help="Draw the same to this file, whose name ends in .png or .svg. By default, no figure.",
    )
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> None:
    figure = None if given.figure is None else _check_figure(Path(given.figure))
    from keras_negrec.data.preparation.folder_statistics import FolderStatistics

    folder = Path(given.folder).absolute()
    statistics = FolderStatistics(folder)
    print(_page(statistics))
    if figure is not None:
        statistics.plot(figure)
        print(f"\nThe figure is in {figure}")


def _check_figure(path: Path) -> Path:
    """The path, if a figure can be written there."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise ValueError(
            "--figure must end in .png or .svg, for example --figure "
            f"{path.with_suffix('.png')}. Received: --figure {path}"
        )
    if not path.parent.is_dir() or path.is_dir():
        raise ValueError(
            "--figure must be a file in a folder that is there, for example --figure figure.png. "
            f"Received: --figure {path}"
        )
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError('--figure needs matplotlib: pip install "keras-negrec[plot]"') from error
    return path


def _page(statistics: FolderStatistics) -> str:
    manifest = statistics.manifest
    sections = {
        "Size": _size(manifest),
        "How it was prepared": [*_parameters(manifest), *dropped_lines(manifest["counts"])],
        "Feedback": _feedback(statistics),
        "Skips and dislikes by position in the row": _positions(statistics),
        "Length of rows": _lengths(statistics),
        "Popularity of items": _popularity(statistics),
        "Repeats": _repeats(statistics),
        "Split": split_lines(manifest["split"]),
    }
    lines = [f"Prepared folder {statistics.folder}"]
    for title, texts in sections.items():
        lines += ["", title]
        for text in texts:
            lines += wrap(text, "  ")
    return "\n".join(lines)


def _size(manifest: dict[str, Any]) -> list[str]:
    kept = manifest["counts"]["kept"]
    lines = [f"{noun:<9}{kept[noun]:>15,}" for noun in ("rows", "sessions", "events", "items")]
    is_of_users = manifest["parameters"]["group_by"] == "user"
    lines[0] += "   each the history of a user" if is_of_users else "   each a session"
    if manifest["parameters"]["max_length"] is not None:
        lines[0] += ", or a window of one"
    lines.append(f"{'shards':<9}{len(manifest['shards']):>15,}   {_bytes(manifest['shards'])}")
    further = [name for name in manifest["columns"] if name not in ("item_ids", "feedback")]
    if further:
        lines.append(f"Events also have {', '.join(further)}.")
    return lines


def _parameters(manifest: dict[str, Any]) -> list[str]:
    sources, given = manifest["sources"], manifest["parameters"]
    lines = [f"Read in the format {given['format']} from a DataFrame."]
    if sources[0]["path"] is not None:
        files = f"{count('files', len(sources))} ({_bytes(sources)})"
        first = ", the first one being" if len(sources) > 1 else ""
        lines = [f"Read in the format {given['format']} from {files}{first}:"]
        lines.append(f"  {sources[0]['path']}")
    defaults = inspect.signature(prepare).parameters
    changed = [
        f"  {name}: {_text(value)}"
        for name, value in given.items()
        if name in defaults and name != "format" and value not in (defaults[name].default, {})
    ]
    if not changed:
        return [*lines, "All parameters have their defaults."]
    return [*lines, "All parameters have their defaults but:", *changed]


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or "none"
    return json.dumps(value, ensure_ascii=False)


def _bytes(files: list[dict[str, Any]]) -> str:
    size = sum(file["bytes"] for file in files)
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def _feedback(statistics: FolderStatistics) -> list[str]:
    counts = statistics.feedback()
    total = sum(counts.values())
    return [f"{name:<14}{n:>13,}{n / total:>8.1%}" for name, n in counts.items()]


def _positions(statistics: FolderStatistics) -> list[str]:
    if not statistics.skips.any():
        return ["No event is a skip or a dislike."]
    bar = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    lines, rates = [f"{'position':<14}{'events':>13}   share"], statistics.skip_rates()
    for position in (1, 2, 3, 5, 10, 20, 50):
        events, rate = statistics.events[position - 1], rates[position - 1]
        if events:
            lines.append(f"{position:<14}{events:>13,}{rate:>8.1%}  {bar * round(40 * rate)}")
    return lines


def _lengths(statistics: FolderStatistics) -> list[str]:
    kept, at = statistics.manifest["counts"]["kept"], statistics.length_quantile
    return [
        f"{kept['events'] / kept['rows']:,.1f} events on average. 10% of the rows have at most "
        f"{at(0.1):,}, half at most {at(0.5):,}, 90% at most {at(0.9):,}; the longest has "
        f"{statistics.manifest['max_row_length']:,}."
    ]


def _popularity(statistics: FolderStatistics) -> list[str]:
    (one, of_one), (ten, of_ten) = map(statistics.share_of_top, (0.01, 0.1))
    once = int((statistics.popularity == 1).sum())
    return [
        f"The most frequent 1% of the items ({one:,}) have {of_one:.1%} of the events, the most "
        f"frequent 10% ({ten:,}) have {of_ten:.1%}.",
        f"Items with a single event: {once:,} ({once / len(statistics.popularity):.1%}).",
    ]


def _repeats(statistics: FolderStatistics) -> list[str]:
    share = statistics.num_repeats / statistics.manifest["counts"]["kept"]["events"]
    return [repeats(share)] if share else ["No row has an item twice."]
