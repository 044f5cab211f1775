"""The command `inspect`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_inspect_command(commands) -> None:
    """Adds the command and its options."""
    parser = commands.add_parser(
        "inspect",
        help="show what a prepared folder holds",
        description="Prints how long the rows of a prepared folder are, how often their events "
        "were skipped, and how unequal its items are.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="what `prepare` has written")
    parser.add_argument("--figure", metavar="FILE", help="draws the same, as a PNG file")
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from keras_negrec.data.preparation.folder_statistics import FolderStatistics, plot_statistics

    folder = Path(given.folder).absolute()
    statistics = FolderStatistics.of(folder)
    table = Table("", "", title=folder.name, show_header=False)
    for name, value in statistics.lines():
        table.add_row(name, value)
    Console().print(table)
    if given.figure:
        plot_statistics(statistics, Path(given.figure))
        print(f"figure: {given.figure}")
