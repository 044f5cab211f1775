"""The command `inspect`: lengths, skips and popularity of a prepared folder."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from keras_negrec.data.preparation.manifest import read_manifest

NUM_POSITIONS = 50


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

    folder = Path(given.folder).absolute()
    statistics = FolderStatistics(folder)
    table = Table("", "", title=folder.name, show_header=False)
    for name, value in statistics.lines():
        table.add_row(name, value)
    Console().print(table)
    if given.figure:
        statistics.plot(Path(given.figure))
        print(f"figure: {given.figure}")


class FolderStatistics:
    """What a prepared folder holds, read shard by shard.

    `lengths` is how many rows have each length from 0; `events` and `skips` are how many events,
    and how many with negative feedback, have each of the first positions in their row;
    `popularity` is how many events each item has, the most frequent first. Without a manifest
    there is a FileNotFoundError.
    """

    def __init__(self, folder: Path):
        import pyarrow.parquet

        manifest = read_manifest(folder)
        if manifest is None:
            raise FileNotFoundError(
                f"There is no prepared folder: it has no manifest.json. Received: {folder}"
            )
        self.manifest = manifest
        self.lengths = np.zeros(manifest["max_row_length"] + 1, "int64")
        self.events, self.skips = np.zeros((2, NUM_POSITIONS), "int64")
        for shard in manifest["shards"]:
            with pyarrow.parquet.ParquetFile(folder / shard["file"]) as file:
                for batch in file.iter_batches(columns=["feedback"]):
                    feedback = batch.column("feedback")
                    sizes = np.diff(feedback.offsets.to_numpy())
                    positions = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
                    early = positions < NUM_POSITIONS
                    negative = feedback.flatten().to_numpy() < 0
                    self.lengths += np.bincount(sizes, minlength=len(self.lengths))
                    self.events += np.bincount(positions[early], minlength=NUM_POSITIONS)
                    self.skips += np.bincount(positions[early & negative], minlength=NUM_POSITIONS)
        counts = pyarrow.parquet.read_table(folder / "items.parquet", columns=["count"])
        self.popularity = np.sort(counts["count"].to_numpy())[::-1]

    def length_quantile(self, share: float) -> int:
        """The length that so many rows do not exceed."""
        return int(np.searchsorted(np.cumsum(self.lengths), share * self.lengths.sum()))

    def skip_rates(self) -> np.ndarray:
        """The share of negative feedback at each position, NaN where there is no event."""
        return self.skips / np.where(self.events > 0, self.events, np.nan)

    def lines(self) -> list[tuple[str, str]]:
        """Names and values for a table."""
        manifest, rates = self.manifest, self.skip_rates()
        kept, split = manifest["counts"]["kept"], manifest["split"]
        lines = [(noun, f"{kept[noun]:,}") for noun in ("sessions", "rows", "events", "items")]
        quantiles = [self.length_quantile(share) for share in (0.1, 0.5, 0.9)]
        lines.append(("length of rows: 10 %, median, 90 %", ", ".join(map(str, quantiles))))
        lines.append(("longest row", f"{manifest['max_row_length']:,}"))
        lines.append(("negative feedback", f"{manifest['negative_share']:.1%}"))
        for position in (0, 1, 4, 9, 19, 49):
            if self.events[position]:
                lines.append((f"  at position {position + 1}", f"{rates[position]:.1%}"))
        total = self.popularity.sum()
        for share in (0.01, 0.1):
            top = self.popularity[: max(1, round(share * len(self.popularity)))].sum()
            lines.append((f"events of the {share:.0%} most frequent items", f"{top / total:.1%}"))
        lines.append(("items with a single event", f"{(self.popularity == 1).sum():,}"))
        lines.append(("training events", f"{split['train']['events']:,}"))
        for part in ("validation", "test"):
            count, skips = (split[part][name] for name in ("examples", "with_skip"))
            lines.append((f"{part} examples", f"{count:,}, {skips:,} with a skip"))
        return lines

    def plot(self, path: Path) -> None:
        """Writes a figure of lengths, skip rates by position, and popularity."""
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                'The figure needs matplotlib: pip install "keras-negrec[plot]".'
            ) from error
        figure = Figure(figsize=(13, 4), layout="constrained")
        lengths, skips, popularity = figure.subplots(1, 3)
        shown = self.length_quantile(0.99) + 1
        lengths.bar(np.arange(1, shown), self.lengths[1:shown], width=1.0)
        lengths.set(
            title="Length of rows (up to the 99 % quantile)", xlabel="events", ylabel="rows"
        )
        skips.plot(np.arange(1, NUM_POSITIONS + 1), self.skip_rates(), marker=".")
        skips.set(title="Negative feedback", xlabel="position in the row", ylabel="share of events")
        skips.set_ylim(bottom=0)
        popularity.loglog(np.arange(1, len(self.popularity) + 1), self.popularity)
        popularity.set(title="Popularity", xlabel="rank of the item", ylabel="events")
        figure.savefig(path, dpi=120)
