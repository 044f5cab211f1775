"""The report of a comparison."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from keras_negrec.evaluation.comparison_charts import comparison_charts
from keras_negrec.evaluation.metric_table import metric_of, metric_title
from keras_negrec.evaluation.report_document import ReportDocument

if TYPE_CHECKING:
    from keras_negrec.evaluation.comparison import Comparison


def write_report(comparison: Comparison, folder: Path, baseline: str) -> Path:
    """Writes `report.md`, its charts and `report.html` into the folder. See `Comparison.report`."""
    folder.mkdir(parents=True, exist_ok=True)
    table = comparison.table(baseline, metrics=comparison.report_metrics())
    document = ReportDocument()
    document.heading(1, "Which is better?")
    document.paragraph(_what_was_compared(comparison))
    others = [label for label in comparison.labels if label != baseline]
    if others:
        document.heading(2, f"What changed against {baseline}")
        document.bullets([_sentence(comparison, label, baseline, table) for label in others])
        document.paragraph(_how_to_read(table))
    _add_means(document, comparison, table)
    if len(comparison.sampled_table()):
        _add_sampled_means(document, comparison)
    document.heading(2, "Charts")
    for name, (caption, figure) in comparison_charts(comparison, baseline).items():
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=130)
        (folder / f"{name}.png").write_bytes(picture.getvalue())
        document.figure(name, caption, picture.getvalue())
    if others:
        _add_comparisons(document, table.drop(index=baseline, level=0))
    _add_what_was_run(document, comparison)
    (folder / "report.md").write_text(document.markdown_text(), "utf-8")
    (folder / "report.html").write_text(document.html_text(), "utf-8")
    return folder / "report.html"


def _what_was_compared(comparison) -> str:
    examples = comparison.examples
    run = next(iter(comparison.runs.values()))[0]
    seen = "taken out" if run.exclude_seen else "left in"
    return (
        f"{len(comparison.labels)} configurations on {len(examples):,} held-out examples, "
        f"{(examples.skip_targets > 0).sum():,} of them with a skip. The whole catalogue was "
        f"ranked after each history, items of the history {seen}."
    )


def _how_to_read(table) -> str:
    family = int(table["p_sessions"].notna().sum())
    text = (
        "Better and worse are said where the difference between the trained models is "
        "significant at 5 % over the sessions (paired bootstrap; p is corrected by Holm's method "
        f"for the family of the {family} comparisons listed below, the intervals are not)"
    )
    if table["common_seeds"].max() < 2:
        return (
            f"{text}. There are no two seeds to pair: what another training would have given "
            "is not tested."
        )
    return (
        f"{text} and has the same sign for every seed. The paired t test over the seeds, listed "
        "below, asks what other seeds would have given; with few seeds it finds only large and "
        "steady differences."
    )


def _sentence(comparison, label, baseline, table) -> str:
    """What changed for the next kept item, the next skipped one, and between the two."""
    parts = []
    for metric in (f"hr@{comparison.cutoff}", f"skip_hr@{comparison.cutoff}", "feedback_auc"):
        if (label, metric) not in table.index:
            continue
        found = table.loc[(label, metric)]
        ours, theirs = comparison.paired_seeds(label, baseline, metric)
        agree = int(np.count_nonzero(np.sign(ours - theirs) == np.sign(found["difference"])))
        word = _what_changed(metric, found)
        if word != _NOT_CLEAR and agree < len(ours):
            word += " on average, but not for every seed"
        seeds = f", {agree} of {len(ours)} seeds agree" if len(ours) > 1 else ""
        parts.append(
            f"{metric_title(metric)} is **{word}**, "
            f"{table.loc[(baseline, metric), 'mean']:.4f} → {found['mean']:.4f} "
            f"({found['difference']:+.4f}, 95 % interval {found['low']:+.4f} to "
            f"{found['high']:+.4f}, p {_p_value(found['p_sessions_holm'], sign='= ')}{seeds})"
        )
    return f"**{label}**: " + "; ".join(parts) + "."


_NOT_CLEAR = "not clearly different"


def _what_changed(metric, found) -> str:
    if not found["p_sessions_holm"] < 0.05:
        return _NOT_CLEAR
    return "better" if (found["difference"] > 0) == metric_of(metric).higher_is_better else "worse"


def _add_means(document, comparison, table) -> None:
    document.heading(2, "Means")
    document.paragraph("Mean over all examples and seeds, ± the standard deviation over the seeds.")
    metrics = list(table.index.get_level_values("metric").unique())
    rows = []
    for label in comparison.labels:
        seconds = np.mean([run.seconds for run in comparison.runs[label]])
        trained = "" if comparison.is_ready(label) else f"{seconds:.0f}"
        rows.append([label, *(_mean(table, label, metric) for metric in metrics), trained])
    document.table(["", *map(metric_title, metrics), "training, s"], rows)
    document.bullets(
        f"{metric_title(name)}: {metric_of(name).label}; {metric_of(name).better} is better"
        for name in metrics
    )


def _add_sampled_means(document, comparison) -> None:
    document.heading(2, "Means in the sampled protocol")
    document.paragraph(
        "Each target among a sample of the catalogue, as papers have it: metrics of another "
        "scale, which say nothing beside those above or those of another sample."
    )
    table = comparison.sampled_table()
    names = [*(f"hr@{k}" for k in comparison.k), "mrr"]
    rows = [
        [label, *(_mean(table, label, f"sampled_{name}") for name in names)]
        for label in comparison.labels
    ]
    document.table(["", *(f"sampled {metric_title(name)}" for name in names)], rows)


def _mean(table, label, metric) -> str:
    mean, spread = table.loc[(label, metric), ["mean", "spread"]]
    return f"{mean:.4f}" + ("" if np.isnan(spread) else f" ± {spread:.4f}")


def _add_comparisons(document, table) -> None:
    document.heading(2, "All comparisons")
    tests = ("p_sessions", "p_sessions_holm", "p_seeds", "p_seeds_holm")
    rows = [
        [
            label,
            metric_title(metric),
            f"{found['mean']:.4f}",
            f"{found['difference']:+.4f}",
            _what_changed(metric, found),
            f"{found['low']:+.4f} to {found['high']:+.4f}",
            *(_p_value(found[test]) for test in tests),
            f"{found['common_seeds']:.0f}",
            f"{found['num_examples']:,.0f}",
        ]
        for (label, metric), found in table.iterrows()
    ]
    head = ["", "metric", "mean", "difference", "which is", "95 % interval", "p, sessions"]
    head += ["corrected", "p, seeds", "corrected", "seeds paired", "examples"]
    document.table(head, rows)


def _p_value(p: float, sign: str = "") -> str:
    if pd.isna(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{sign}{p:.3f}"


def _add_what_was_run(document, comparison) -> None:
    document.heading(2, "What was run")
    rows = []
    for label, runs in comparison.runs.items():
        if comparison.is_ready(label):
            rows.append([label, "ready scorer", "", ""])
            continue
        versions = sorted({", ".join(f"{k} {v}" for k, v in run.versions.items()) for run in runs})
        seeds = ", ".join(str(run.seed) for run in runs)
        rows.append([label, json.dumps(runs[0].settings), seeds, "; ".join(versions)])
    document.table(["", "settings", "seeds", "versions"], rows)
