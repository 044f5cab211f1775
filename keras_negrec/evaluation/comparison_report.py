"""The report of a comparison."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from itertools import starmap
from pathlib import Path

import numpy as np
import pandas as pd

from keras_negrec.evaluation.comparison import Comparison, p_value
from keras_negrec.evaluation.comparison_charts import comparison_charts
from keras_negrec.evaluation.ranking_metrics import metric_of, metric_title

_HEAD = """\
<!DOCTYPE html>
<html lang='en'><head><meta charset='utf-8'/><title>Comparison</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 70em; margin: 2em auto }
table { border-collapse: collapse; font-size: 14px; display: block; overflow-x: auto }
th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: right; white-space: pre }
th:first-child, td:first-child { text-align: left }
img { max-width: 100% }
</style></head>
<body>"""


def write_report(comparison: Comparison, folder: Path, baseline: str) -> Path:
    """Writes `report.md`, its charts and `report.html` into the folder. See `Comparison.report`."""
    folder.mkdir(parents=True, exist_ok=True)
    table = comparison.table(baseline, metrics=comparison.report_metrics())
    others = [label for label in comparison.labels if label != baseline]
    examples, run = comparison.examples, comparison.runs[baseline][0]
    what = (
        f"{len(comparison.labels)} configurations on {len(examples):,} held-out examples, "
        f"{(examples.skip_targets > 0).sum():,} of them with a skip. The whole catalogue was "
        f"ranked, items of the history {'taken out' if run.exclude_seen else 'left in'}."
    )
    blocks: list[str | pd.DataFrame] = ["# Which is better?", what]  # Markdown and tables
    if others:
        blocks.insert(1, _verdict(table, others, baseline))
        changes = "\n".join(_what_changed(comparison, label, baseline, table) for label in others)
        blocks += [f"## What changed against {baseline}", changes, _how_to_read(table)]
    blocks += _means(comparison, table)
    blocks.append("## Charts")
    for name, (caption, figure) in comparison_charts(comparison, baseline).items():
        figure.savefig(folder / f"{name}.png", dpi=130)
        blocks += [f"![{name}]({name}.png)", caption]
    if others:
        blocks += ["## All comparisons", _all_comparisons(table.drop(index=baseline, level=0))]
    blocks += ["## What was run", pd.DataFrame(starmap(_run, comparison.runs.items()))]
    (folder / "report.md").write_text("\n\n".join(map(_markdown, blocks)) + "\n", "utf-8")
    page = "\n".join([_HEAD, *(_html(block, folder) for block in blocks), "</body></html>\n"])
    (folder / "report.html").write_text(page, "utf-8")
    return folder / "report.html"


def _markdown(block: str | pd.DataFrame) -> str:
    if isinstance(block, str):
        return block
    lines = []
    for row in [block.columns, *block.to_numpy()]:
        cells = [html.escape(cell, quote=False).replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    lines.insert(1, "|---|" + "---:|" * (block.shape[1] - 1))
    return "\n".join(lines)


def _html(block: str | pd.DataFrame, folder: Path) -> str:
    if isinstance(block, pd.DataFrame):
        with pd.option_context("display.max_colwidth", None):
            return block.to_html(index=False, border=0)
    if block.startswith("#"):
        marks, text = block.split(" ", 1)
        return f"<h{len(marks)}>{html.escape(text)}</h{len(marks)}>"
    if block.startswith("!["):
        name = block[2 : block.index("]")]
        data = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
        return f"<img alt='{name}' src='data:image/png;base64,{data}'/>"
    # Every second piece between `**` is bold.
    pieces = html.escape(block).split("**")
    text = "".join(f"<b>{piece}</b>" if i % 2 else piece for i, piece in enumerate(pieces))
    if block.startswith("- "):
        return "<ul>" + "\n".join(f"<li>{line[2:]}</li>" for line in text.split("\n")) + "</ul>"
    return f"<p>{text}</p>"


def _which(metric: str, found: pd.Series) -> str:
    """Whether a row of the table is better or worse than the baseline."""
    if not found["p_sessions_holm"] < 0.05:
        return "not clearly different"
    is_better = (found["difference"] > 0) == metric_of(metric).higher_is_better
    which = "better" if is_better else "worse"
    if found["agreeing_seeds"] < found["common_seeds"]:
        which += " on average, but not for every seed"
    return which


def _verdict(table: pd.DataFrame, others: list[str], baseline: str) -> str:
    """One line: the best by the first metric, if it is better than the baseline."""
    metric = table.index[0][1]
    title, found = metric_title(metric), table.xs(metric, level="metric")
    better = [label for label in others if _which(metric, found.loc[label]) == "better"]
    if not better:
        return f"**Nothing is clearly better than {baseline}** by {title}."
    best = max(better, key=lambda label: abs(found.loc[label, "difference"]))
    mean, p = found.loc[best, ["mean", "p_sessions_holm"]]
    against = f"{mean:.4f} against {found.loc[baseline, 'mean']:.4f} of {baseline}"
    return f"**{best} is best** by {title}: {against}, p {p_value(p)}."


def _what_changed(comparison: Comparison, label: str, baseline: str, table: pd.DataFrame) -> str:
    """What changed for the next kept item, the next skipped one, and between the two."""
    parts = []
    for metric in (f"hr@{comparison.cutoff}", f"skip_hr@{comparison.cutoff}", "feedback_auc"):
        if (label, metric) not in table.index:
            continue
        found = table.loc[(label, metric)]
        agree, common = found["agreeing_seeds"], found["common_seeds"]
        seeds = f", {agree:.0f} of {common:.0f} seeds agree" if common > 1 else ""
        parts.append(
            f"{metric_title(metric)} is **{_which(metric, found)}**, "
            f"{table.loc[(baseline, metric), 'mean']:.4f} → {found['mean']:.4f} "
            f"({found['difference']:+.4f}, 95 % interval {found['low']:+.4f} to "
            f"{found['high']:+.4f}, p {p_value(found['p_sessions_holm'])}{seeds})"
        )
    return f"- **{label}**: {'; '.join(parts)}."


def _how_to_read(table: pd.DataFrame) -> str:
    seeds = "Without two seeds to pair, it is not tested what other seeds would have given."
    if table["common_seeds"].max() > 1:
        seeds = (
            "The paired t test over the seeds, listed below, asks what other seeds would have "
            "given; with few seeds it finds only large and steady differences."
        )
    return (
        "Better and worse are said where the difference between the trained models is "
        "significant at 5 % over the sessions (paired bootstrap; p is corrected by Holm's method "
        f"for the family of the {table['p_sessions'].notna().sum()} comparisons listed below, the "
        f"intervals are not) and has the same sign for every seed. {seeds}"
    )


def _means(comparison: Comparison, table: pd.DataFrame) -> list[str | pd.DataFrame]:
    metrics = list(table.index.unique("metric"))
    means = _table_of_means(table, metrics)
    means["training, s"] = [
        "" if comparison.is_ready(label) else f"{np.mean([run.seconds for run in runs]):.0f}"
        for label, runs in comparison.runs.items()
    ]
    text = "Mean over all examples and seeds, ± the standard deviation over the seeds."
    explained = (
        f"- {metric_title(name)}: {metric_of(name).label}; {metric_of(name).better} is better"
        for name in metrics
    )
    blocks = ["## Means", text, means, "\n".join(explained)]
    sampled = comparison.sampled_table()
    if len(sampled):
        text = (
            "Each target among a sample of the catalogue, as papers have it: metrics of another "
            "scale, which say nothing beside those above or those of another sample."
        )
        names = [*(f"sampled_hr@{k}" for k in comparison.k), "sampled_mrr"]
        blocks += ["## Means in the sampled protocol", text, _table_of_means(sampled, names)]
    return blocks


def _table_of_means(table: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    spread = table["spread"].map(" ± {:.4f}".format, na_action="ignore").fillna("")
    cells = (table["mean"].map("{:.4f}".format) + spread).unstack("metric", sort=False)[metrics]
    titles = ["sampled " * name.startswith("sampled_") + metric_title(name) for name in metrics]
    return cells.set_axis(titles, axis=1).reset_index(names="")


def _all_comparisons(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `Comparison.table` as text."""
    formats: dict[str, Callable] = {"mean": "{:.4f}".format}
    formats |= dict.fromkeys(["difference", "low", "high"], "{:+.4f}".format)
    formats |= dict.fromkeys(["p_sessions", "p_sessions_holm", "p_seeds", "p_seeds_holm"], p_value)
    formats |= dict.fromkeys(["common_seeds", "num_examples"], "{:,.0f}".format)
    found = {name.replace("_", " "): table[name].map(text) for name, text in formats.items()}
    which = [_which(metric, row) for (_, metric), row in table.iterrows()]
    labels, metrics = zip(*table.index, strict=True)
    return pd.DataFrame({"": labels, "metric": map(metric_title, metrics), "is": which} | found)


def _run(label: str, runs: list) -> dict[str, str]:
    row = {"": label, "settings": "ready scorer", "seeds": "", "versions": ""}
    if [run.seed for run in runs] != [None]:
        versions = {", ".join(f"{k} {v}" for k, v in run.versions.items()) for run in runs}
        row |= {"settings": json.dumps(runs[0].settings), "versions": "; ".join(sorted(versions))}
        row["seeds"] = ", ".join(str(run.seed) for run in runs)
    return row
