"""The report of a comparison."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from keras_negrec.atomic_write import atomic_write
from keras_negrec.evaluation.comparison import Comparison, p_value
from keras_negrec.evaluation.comparison_charts import comparison_charts
from keras_negrec.evaluation.ranking_metrics import metric_of, metric_title
from keras_negrec.evaluation.report_blocks import (
    HTML_HEAD,
    Block,
    Bold,
    Bullets,
    Heading,
    Image,
    Paragraph,
    Table,
    to_html,
    to_markdown,
)


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
    blocks: list[Block] = [Heading("Which is better?", 1), Paragraph(what)]
    if others:
        blocks.insert(1, Paragraph(_verdict(comparison, table, others, baseline)))
    blocks += _hits_and_skips(comparison, table)
    if others:
        changes = [_what_changed(comparison, label, baseline, table) for label in others]
        blocks += [Heading(f"What changed against {baseline}"), Bullets(changes)]
        blocks.append(Paragraph(_how_to_read(table)))
    blocks += _means(comparison, table)
    blocks.append(Heading("Charts"))
    for name, (caption, figure) in comparison_charts(comparison, baseline).items():
        with atomic_write(folder / f"{name}.png") as partial:
            figure.savefig(partial, dpi=130, format="png")
        blocks += [Image(folder / f"{name}.png"), Paragraph(caption)]
    if others:
        differences = _all_comparisons(table.drop(index=baseline, level=0))
        blocks += [Heading("All comparisons"), Table(differences, num_text=3)]
    blocks += [Heading("What was run"), *_what_was_run(comparison)]
    texts = {"report.md": "\n\n".join(map(to_markdown, blocks)) + "\n"}
    texts["report.html"] = "\n".join([HTML_HEAD, *map(to_html, blocks), "</body></html>\n"])
    for name, text in texts.items():
        with atomic_write(folder / name) as partial:
            partial.write_text(text, "utf-8")
    return folder / "report.html"


def _which(table: pd.DataFrame, label: str, metric: str) -> str:
    """Whether a row of the table is better or worse than the baseline.

    Fewer skips are not called better where hits are clearly fewer: who finds nothing shows none.
    """
    found, of_metric = table.loc[(label, metric)], metric_of(metric)
    if np.isnan(found["difference"]):
        return ""
    if not found["p_sessions_holm"] < 0.05:
        return "not clearly different"
    is_better = (found["difference"] > 0) == of_metric.higher_is_better
    if is_better and not of_metric.higher_is_better and of_metric.needs == ("skip_target",):
        for hits in (name for name in table.index.unique("metric") if name.startswith("hr@")):
            if _which(table, label, hits).startswith("worse"):
                return f"lower, but so is {metric_title(hits)}"
    which = "better" if is_better else "worse"
    if found["agreeing_seeds"] < found["common_seeds"]:
        which += " on average, but not for every seed"
    return which


def _verdict(comparison: Comparison, table: pd.DataFrame, others: list[str], baseline: str):
    """One line: the best beside the baseline, trained models if there are, and its skips."""
    hits, skips = (f"{name}@{comparison.cutoff}" for name in ("hr", "skip_hr"))
    if (baseline, hits) not in table.index:
        return [Bold("Nothing says which is better"), ": no example has a next kept item."]
    others = [label for label in others if not comparison.is_ready(label)] or others

    def is_better(label, metric):
        return (label, metric) in table.index and _which(table, label, metric) == "better"

    def change(label, metric):
        before, mean = (100 * table.loc[(each, metric), "mean"] for each in (baseline, label))
        p = p_value(table.loc[(label, metric), "p_sessions_holm"])
        return f"{metric_title(metric)} {before:.1f} → {mean:.1f} %, p {p}"

    finds_more = [label for label in others if is_better(label, hits)]
    shows_fewer = [label for label in others if is_better(label, skips)]
    if not finds_more + shows_fewer:
        return [Bold(f"Nothing is clearly better than {baseline}"), f" ({metric_title(hits)})."]
    best = max(
        finds_more or shows_fewer,
        key=lambda label: (label in shows_fewer, table.loc[(label, hits), "mean"]),
    )
    verdict: list[str] = [Bold(f"{best} is clearly better than {baseline}"), ": it "]
    verdict.append("finds more" if finds_more else "shows fewer skips, at hits that hardly changed")
    verdict.append(f" ({change(best, hits)})")
    if (best, skips) in table.index:
        changes = {"better": "and shows fewer skips", "worse": "but shows more skips"}
        changed = changes.get(_which(table, best, skips), "with skips that did not clearly change")
        verdict.append(f" {changed if finds_more else 'and'} ({change(best, skips)})")
    return [*verdict, "."]


def _hits_and_skips(comparison: Comparison, table: pd.DataFrame) -> list[Block]:
    k = comparison.cutoff
    names = [f"hr@{k}", f"skip_hr@{k}", f"kept_share@{k}"]
    names = [name for name in names if name in table.index.unique("metric")]
    columns: dict[str, list[str]] = {"": comparison.labels}
    intervals = [comparison.intervals(label, k=[k]) for label in comparison.labels]
    for name in names:
        columns[metric_title(name)] = [_with_interval(found.loc[name]) for found in intervals]
    title, text = "Hits", "Mean and 95 % interval over the examples."
    if len(names) > 1:
        title = "Hits and skips"
        text += " Read them together: a model that finds nothing shows no skips either."
    table_of_both = Table(pd.DataFrame(columns))
    return [Heading(title), table_of_both, Paragraph(text), _explained(names)]


def _with_interval(found: pd.Series) -> str:
    """Without an interval where too little was found for one."""
    interval = "" if np.isnan(found["low"]) else f" ({found['low']:.4f} to {found['high']:.4f})"
    return _number("{:.4f}", found["mean"]) + interval


def _explained(metrics: list[str]) -> Bullets:
    found = {metric_title(name): metric_of(name) for name in metrics}
    return Bullets([f"{title}: {m.label}; {m.better} is better" for title, m in found.items()])


def _what_changed(comparison: Comparison, label: str, baseline: str, table: pd.DataFrame) -> list:
    """What changed for the next kept item, the next skipped one, and between the two."""
    k = comparison.cutoff
    pieces: list[str] = [Bold(label)]
    for metric in (f"hr@{k}", f"skip_hr@{k}", f"kept_share@{k}", "feedback_auc"):
        if (label, metric) not in table.index:
            continue
        pieces.append(": " if len(pieces) == 1 else "; ")
        found, before = table.loc[(label, metric)], table.loc[(baseline, metric), "mean"]
        if np.isnan(found["difference"]):
            who = baseline if np.isnan(before) else "it"
            pieces.append(f"{metric_title(metric)} says nothing, as {who} finds neither")
            continue
        sure = "too little is found for an interval"
        if not np.isnan(found["low"]):
            sure = f"by {found['low']:+.4f} to {found['high']:+.4f}, p "
            sure += p_value(found["p_sessions_holm"])
        agree, common = found["agreeing_seeds"], found["common_seeds"]
        seeds = f", {agree:.0f} of {common:.0f} seeds agree" if common > 1 else ""
        pieces += [f"{metric_title(metric)} is ", Bold(_which(table, label, metric))]
        pieces.append(f", {before:.4f} → {found['mean']:.4f} ({sure}{seeds})")
    return [*pieces, "."]


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
        "95 % intervals in brackets are not) and has the same sign for every seed. "
        f"Fewer skips are not called better where hits are clearly fewer. {seeds}"
    )


def _means(comparison: Comparison, table: pd.DataFrame) -> list[Block]:
    metrics = list(table.index.unique("metric"))
    means = Table(_table_of_means(table, metrics))
    text = "Mean over all examples and seeds, ± the standard deviation over the seeds."
    shown = {f"{name}@{comparison.cutoff}" for name in ("hr", "skip_hr", "kept_share")}
    others = _explained([name for name in metrics if name not in shown])
    blocks: list[Block] = [Heading("Means"), means, Paragraph(text), others]
    sampled = comparison.sampled_table()
    if len(sampled):
        text = (
            "Each target among a sample of the catalogue, as papers have it: metrics of another "
            "scale, which say nothing beside those above or those of another sample."
        )
        names = [*(f"sampled_hr@{k}" for k in comparison.k), "sampled_mrr"]
        blocks += [Heading("Means in the sampled protocol"), Paragraph(text)]
        blocks.append(Table(_table_of_means(sampled, names)))
    return blocks


def _table_of_means(table: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    spread = table["spread"].map(" ±\u00a0{:.4f}".format, na_action="ignore").fillna("")
    means = table["mean"].map("{:.4f}".format, na_action="ignore").fillna("")
    cells = (means + spread).unstack("metric", sort=False)[metrics]
    titles = ["sampled " * name.startswith("sampled_") + metric_title(name) for name in metrics]
    return cells.set_axis(titles, axis=1).reset_index(names="")


def _all_comparisons(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `Comparison.table` as text."""
    rows = []
    for (label, metric), found in table.iterrows():
        low, high = found["low"], found["high"]
        rows.append(
            {
                "": label,
                "metric": metric_title(metric),
                "is": _which(table, label, metric),
                "mean": _number("{:.4f}", found["mean"]),
                "difference": _number("{:+.4f}", found["difference"]),
                "95 % interval": "" if np.isnan(low) else f"{low:+.4f}\u00a0to\u00a0{high:+.4f}",
                "p sessions (Holm)": p_value(found["p_sessions_holm"]),
                "p seeds (Holm)": p_value(found["p_seeds_holm"]),
                "n": f"{found['num_examples']:,.0f}",
            }
        )
    return pd.DataFrame(rows)


def _number(text: str, value: float) -> str:
    return "" if np.isnan(value) else text.format(value)


def _what_was_run(comparison: Comparison) -> list[Block]:
    """A table of what differs between the configurations, and a line of what does not."""
    settings, seconds = {}, {}
    for label, runs in comparison.runs.items():
        if not comparison.is_ready(label):
            versions = {
                f"{name} {version}" for run in runs for name, version in run.versions.items()
            }
            settings[label] = _flat(runs[0].settings)
            settings[label]["seeds",] = ", ".join(str(run.seed) for run in runs)
            settings[label]["versions",] = ", ".join(sorted(versions))
            seconds[label] = f"{np.mean([run.seconds for run in runs]):.0f}"
    paths = list(dict.fromkeys(path for of_label in settings.values() for path in of_label))
    names = [path[-1] for path in paths]
    columns: dict[str, list[str]] = {"": list(settings)}
    common = []
    for path in paths:
        name = path[-1] if names.count(path[-1]) == 1 else " ".join(path)
        values = {settings[label].get(path, "") for label in settings}
        if len(values) > 1:
            columns[name] = [of_label.get(path, "") for of_label in settings.values()]
        elif values != {""}:
            common.append(f"{name} {values.pop()}")
    columns["training, s"] = list(seconds.values())
    blocks: list[Block] = []
    if settings:
        blocks.append(Table(pd.DataFrame(columns), num_text=len(columns) - 1))
    if common:
        blocks.append(Paragraph(f"All trained models have in common: {', '.join(common)}."))
    if ready := [label for label in comparison.labels if label not in settings]:
        blocks.append(Paragraph(f"Scorers that were ready, without training: {', '.join(ready)}."))
    return blocks


def _flat(settings, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Settings by their paths, as text; without hashes of data, which tell a reader nothing."""
    if isinstance(settings, dict):
        parts = [
            _flat(value, (*path, str(name).replace("_", " "))) for name, value in settings.items()
        ]
        return {name: value for part in parts for name, value in part.items()}
    if not path or re.fullmatch("[0-9a-f]{12,}", str(settings)):
        return {}
    if isinstance(settings, bool) or settings is None:
        return {path: {True: "yes", False: "no", None: "none"}[settings]}
    return {path: f"{settings:g}" if isinstance(settings, float) else str(settings)}
