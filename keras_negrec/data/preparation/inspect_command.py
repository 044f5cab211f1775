"""The command `inspect`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from keras_negrec.data.preparation.folder_statistics import FolderStatistics, plot_statistics


def add_inspect_command(commands) -> None:
    """Adds the command and its options."""
    parser = commands.add_parser(
        "inspect", help="what a prepared folder holds, as a table and a figure"
    )
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument(
        "--figure", help="where the PNG goes; by default FOLDER.png beside the folder"
    )
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> None:
    folder = Path(given.folder).absolute()
    statistics = FolderStatistics.of(folder)
    figure = Path(given.figure) if given.figure else folder.with_name(f"{folder.name}.png")
    table = Table("", "", title=folder.name, show_header=False)
    for name, value in statistics.lines():
        table.add_row(name, value)
    Console().print(table)
    plot_statistics(statistics, figure)
    print(f"figure: {figure}")
