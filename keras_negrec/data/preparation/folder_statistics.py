"""Lengths, skips and popularity of a prepared folder, read shard by shard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

from keras_negrec.data.preparation.manifest import read_manifest

NUM_POSITIONS = 50


@dataclass(frozen=True)
class FolderStatistics:
    """What a prepared folder holds.

    Args:
        manifest: of the folder.
        lengths: int array, how many rows have each length from 0.
        events: int array `(NUM_POSITIONS,)`, how many events have each position in their row.
        skips: int array `(NUM_POSITIONS,)`, how many of them have negative feedback.
        popularity: int array `(num_items,)`, events of each item, the most frequent first.
    """

    manifest: dict[str, Any]
    lengths: np.ndarray
    events: np.ndarray
    skips: np.ndarray
    popularity: np.ndarray

    @classmethod
    def of(cls, folder: Path) -> FolderStatistics:
        """Reads a folder.

        Raises:
            FileNotFoundError: no manifest, so that there is no folder or an unfinished one.
        """
        manifest = read_manifest(folder)
        if manifest is None:
            raise FileNotFoundError(
                f"There is no prepared folder: it has no manifest.json. Received: {folder}"
            )
        lengths = np.zeros(manifest["max_row_length"] + 1, "int64")
        events, skips = (np.zeros(NUM_POSITIONS, "int64") for _ in range(2))
        for shard in manifest["shards"]:
            with pyarrow.parquet.ParquetFile(folder / shard["file"]) as file:
                for batch in file.iter_batches(columns=["feedback"]):
                    feedback = batch.column("feedback")
                    sizes = np.diff(feedback.offsets.to_numpy())
                    positions = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
                    early = positions < NUM_POSITIONS
                    negative = feedback.flatten().to_numpy() < 0
                    lengths += np.bincount(sizes, minlength=len(lengths))
                    events += np.bincount(positions[early], minlength=NUM_POSITIONS)
                    skips += np.bincount(positions[early & negative], minlength=NUM_POSITIONS)
        counts = pyarrow.parquet.read_table(folder / "items.parquet", columns=["count"])
        popularity = np.sort(counts["count"].to_numpy())[::-1]
        return cls(manifest, lengths, events, skips, popularity)

    def length_quantile(self, share: float) -> int:
        """The length that so many rows do not exceed."""
        return int(np.searchsorted(np.cumsum(self.lengths), share * self.lengths.sum()))

    def skip_rates(self) -> np.ndarray:
        """The share of negative feedback at each position, NaN where there is no event."""
        return self.skips / np.where(self.events > 0, self.events, np.nan)

    def lines(self) -> list[tuple[str, str]]:
        """Names and values for a table."""
        manifest, rates = self.manifest, self.skip_rates()
        kept = manifest["counts"]["kept"]
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
        split = manifest["split"]
        lines.append(("training events", f"{split['train']['events']:,}"))
        for part in ("validation", "test"):
            count, skips = (split[part][name] for name in ("examples", "with_skip"))
            lines.append((f"{part} examples", f"{count:,}, {skips:,} with a skip"))
        return lines


def plot_statistics(statistics: FolderStatistics, path: Path) -> None:
    """Writes a figure of lengths, skip rates by position, and popularity."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'The figure needs matplotlib: pip install "keras-negrec[plot]".'
        ) from error
    figure = Figure(figsize=(13, 4), layout="constrained")
    lengths, skips, popularity = figure.subplots(1, 3)
    shown = statistics.length_quantile(0.99) + 1
    lengths.bar(np.arange(1, shown), statistics.lengths[1:shown], width=1.0)
    lengths.set(title="Length of rows (up to the 99 % quantile)", xlabel="events", ylabel="rows")
    skips.plot(np.arange(1, NUM_POSITIONS + 1), statistics.skip_rates(), marker=".")
    skips.set(title="Negative feedback", xlabel="position in the row", ylabel="share of events")
    skips.set_ylim(bottom=0)
    rank = np.arange(1, len(statistics.popularity) + 1)
    popularity.loglog(rank, statistics.popularity)
    popularity.set(title="Popularity", xlabel="rank of the item", ylabel="events")
    figure.savefig(path, dpi=120)
