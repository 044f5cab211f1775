"""What a prepared folder holds, in numbers and as a figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_negrec.atomic_write import atomic_write
from keras_negrec.data.preparation.cut_rows import count_repeats
from keras_negrec.data.preparation.manifest import ITEMS, known_files, read_manifest

NUM_POSITIONS = 50


class FolderStatistics:
    """What a prepared folder holds, read shard by shard.

    `lengths` is how many rows have each length from 0; `events` and `skips` are how many events,
    and how many with negative feedback, have each of the first positions in their row;
    `num_repeats` is how many events have an item that is in their row before; `popularity` is how
    many events each item has, the most frequent first. Without a manifest there is a
    FileNotFoundError.
    """

    def __init__(self, folder: Path):
        import pyarrow.parquet

        manifest = read_manifest(folder)
        if manifest is None:
            why = "it has no manifest.json" if folder.is_dir() else "there is no such folder"
            raise FileNotFoundError(
                f"FOLDER must be a folder that `prepare` has written: {why}. Received: {folder}"
            )
        self.folder, self.manifest = folder, manifest
        self.lengths = np.zeros(manifest["max_row_length"] + 1, "int64")
        self.events, self.skips = np.zeros((2, NUM_POSITIONS), "int64")
        self.num_repeats = 0
        files = known_files(folder, manifest)
        for shard in manifest["shards"]:
            with pyarrow.parquet.ParquetFile(files[shard["file"]].checked()) as file:
                for batch in file.iter_batches(columns=["item_ids", "feedback"]):
                    self._add(*(batch.column(name) for name in ("item_ids", "feedback")))
        counts = pyarrow.parquet.read_table(files[ITEMS].checked(), columns=["count"])
        self.popularity = np.sort(counts["count"].to_numpy())[::-1]

    def _add(self, item_ids, feedback) -> None:
        sizes = np.diff(feedback.offsets.to_numpy())
        positions = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        early = positions < NUM_POSITIONS
        negative = feedback.flatten().to_numpy() < 0
        self.lengths += np.bincount(sizes, minlength=len(self.lengths))
        self.events += np.bincount(positions[early], minlength=NUM_POSITIONS)
        self.skips += np.bincount(positions[early & negative], minlength=NUM_POSITIONS)
        self.num_repeats += count_repeats(sizes, item_ids.flatten().to_numpy())

    def length_quantile(self, share: float) -> int:
        """The length that so many rows do not exceed."""
        return int(np.searchsorted(np.cumsum(self.lengths), share * self.lengths.sum()))

    def skip_rates(self) -> np.ndarray:
        """The share of negative feedback at each position, NaN where there is no event."""
        return self.skips / np.where(self.events > 0, self.events, np.nan)

    def share_of_top(self, share: float) -> tuple[int, float]:
        """How many items the most frequent ones are, and the share of events that they have."""
        top = max(1, round(share * len(self.popularity)))
        return top, self.popularity[:top].sum() / self.popularity.sum()

    def feedback(self) -> dict[str, int]:
        """How many events have each feedback, under names, the worst first."""
        names = ("disliked (-2)", "skipped (-1)", "unknown (0)", "kept (+1)", "liked (+2)")
        values = map(str, range(-2, 3))
        counts = self.manifest["feedback"]
        return {name: counts[value] for name, value in zip(names, values, strict=True)}

    def plot(self, path: Path) -> None:
        """Writes a figure of feedback, skips by position, lengths and popularity."""
        from matplotlib import ticker
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 7.5), layout="constrained")
        kept = self.manifest["counts"]["kept"]
        sizes = ", ".join(f"{kept[noun]:,} {noun}" for noun in ("rows", "events", "items"))
        figure.suptitle(f"{self.folder.name}: {sizes}", fontsize=13)
        (feedback, skips), (lengths, popularity) = figure.subplots(2, 2)
        shares = np.array([*self.feedback().values()]) / kept["events"]
        colors = ["#8c2d19", "#d95f0e", "#9a9a9a", "#4f9d69", "#1b6b3a"]
        bars = feedback.barh([*self.feedback()], shares, color=colors)
        feedback.bar_label(bars, [f"{share:.1%}" for share in shares], padding=3)
        feedback.set(title="Feedback", xlabel="share of events", xlim=(0, shares.max() * 1.18))
        reached = min(NUM_POSITIONS, self.length_quantile(0.95))  # by enough rows to say something
        rates = self.skip_rates()[:reached]
        skips.plot(np.arange(1, reached + 1), rates, color=colors[1], marker=".")
        skips.set(title="Skips and dislikes by position", xlabel="position in the row")
        skips.set(ylabel="share of events", ylim=(0, 1), xlim=(0, reached + 1))
        shown = self.length_quantile(0.99) + 1
        lengths.bar(np.arange(1, shown), self.lengths[1:shown], width=1.0, color="#5b7f95")
        lengths.set(title="Length of rows, without the longest 1%", xlabel="events in the row")
        lengths.set(ylabel="rows", xlim=(0, shown))
        popularity.loglog(np.arange(1, len(self.popularity) + 1), self.popularity, color="#5b3f8c")
        popularity.set(title="Popularity of items", xlabel="rank of the item", ylabel="events")
        for axis in (feedback.xaxis, skips.yaxis):
            axis.set_major_formatter(ticker.PercentFormatter(1, decimals=0))
        for axis in (popularity.xaxis, popularity.yaxis):
            axis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
            axis.set_minor_formatter(ticker.LogFormatter(minor_thresholds=(2, 0.4)))
        for axis in (skips.xaxis, lengths.xaxis, lengths.yaxis):
            axis.set_major_locator(ticker.MaxNLocator(integer=True))
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
        for axes in (skips, popularity):
            axes.grid(alpha=0.3)
        with atomic_write(path) as partial:
            figure.savefig(partial, dpi=120, format=path.suffix[1:].lower())
