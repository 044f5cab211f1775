"""The report of a comparison."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from keras_negrec.evaluation.comparison_figures import comparison_figures
from keras_negrec.evaluation.html_document import HTMLDocument
from keras_negrec.evaluation.markdown_document import MarkdownDocument

if TYPE_CHECKING:
    from keras_negrec.evaluation.comparison import Comparison

_TITLES = {"mrr": "MRR", "skip_mrr": "skip MRR", "feedback_auc": "feedback AUC"}


def write_report(comparison: Comparison, folder: Path, baseline: str) -> Path:
    """Writes `report.md`, its figures and `report.html` into the folder. See `Comparison.report`.

    Args:
        comparison: `Comparison`.
        folder: path. Is made where it does not exist.
        baseline: label.

    Returns:
        The path of `report.html`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cutoff = 10 if 10 in comparison.k else max(comparison.k)
    metrics = [f"hr@{cutoff}", f"ndcg@{cutoff}", "mrr"]
    if (comparison.examples.skip_targets > 0).any():
        metrics += [f"skip_hr@{cutoff}", "skip_mrr", "feedback_auc"]
    table = comparison.table(baseline, metrics=metrics)
    pictures = {}
    for name, (caption, figure) in comparison_figures(comparison, baseline, cutoff).items():
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=130)
        pictures[name] = (caption, picture.getvalue())
        (folder / f"{name}.png").write_bytes(picture.getvalue())

    for name, document in (("report.md", MarkdownDocument()), ("report.html", HTMLDocument())):
        _fill(document, comparison, baseline, table, cutoff, pictures)
        (folder / name).write_text(document.text(), "utf-8")
    return folder / "report.html"


def _fill(document, comparison, baseline, table, cutoff, pictures) -> None:
    metrics = table.index.get_level_values("metric").unique()
    document.heading(1, "Which is better?")
    document.paragraph(_what_was_compared(comparison))
    others = [label for label in comparison.labels if label != baseline]
    if others:
        document.heading(2, f"What changed against {baseline}")
        document.bullets(
            [_sentence(comparison, label, baseline, table, cutoff) for label in others]
        )
        document.paragraph(_how_to_read(table))

    document.heading(2, "Means")
    document.paragraph(
        "Mean over all examples and seeds, ± the standard deviation over the seeds. "
        "Skip HR and skip MRR: lower is better; the others: higher is better."
    )
    rows = []
    for label in comparison.labels:
        cells = []
        for metric in metrics:
            found = table.loc[(label, metric)]
            spread = "" if np.isnan(found["spread"]) else f" ± {found['spread']:.4f}"
            cells.append(f"{found['mean']:.4f}{spread}")
        seconds = np.mean([run.seconds for run in comparison.runs[label]])
        rows.append([label, *cells, "" if comparison.is_ready(label) else f"{seconds:.0f}"])
    document.table(["", *map(_title, metrics), "training, s"], rows)

    sampled = comparison.sampled_table()
    if len(sampled):
        _sampled_means(document, comparison, sampled)
    if pictures:
        document.heading(2, "Figures")
    for name, (caption, picture) in pictures.items():
        document.figure(name, caption, picture)

    if others:
        document.heading(2, "All comparisons")
        rows = []
        for (label, metric), found in table.drop(index=baseline, level=0).iterrows():
            rows.append(
                [
                    label,
                    _title(metric),
                    f"{found['mean']:.4f}",
                    f"{found['difference']:+.4f}",
                    f"{found['low']:+.4f} to {found['high']:+.4f}",
                    *(
                        _p_value(found[name])
                        for name in ("p_sessions", "p_sessions_holm", "p_seeds", "p_seeds_holm")
                    ),
                    f"{found['common_seeds']:.0f}",
                    f"{found['num_examples']:,.0f}",
                ]
            )
        document.table(
            [
                *("", "metric", "mean", "difference", "95 % interval", "p, sessions", "corrected"),
                *("p, seeds", "corrected", "seeds paired", "examples"),
            ],
            rows,
        )
    document.heading(2, "What was run")
    rows = []
    for label in comparison.labels:
        runs = comparison.runs[label]
        if comparison.is_ready(label):
            rows.append([label, "ready scorer", "", ""])
            continue
        versions = sorted({", ".join(f"{k} {v}" for k, v in run.versions.items()) for run in runs})
        seeds = ", ".join(str(run.seed) for run in runs)
        rows.append([label, json.dumps(runs[0].settings), seeds, "; ".join(versions)])
    document.table(["", "settings", "seeds", "versions"], rows)


def _sampled_means(document, comparison, sampled) -> None:
    document.heading(2, "Means in the sampled protocol")
    document.paragraph(
        "Each target among a sample of the catalogue, as papers have it: figures of another "
        "scale, which say nothing beside those above or those of another sample."
    )
    names = [*(f"sampled_hr@{k}" for k in comparison.k), "sampled_mrr"]
    rows = []
    for label in comparison.labels:
        cells = []
        for name in names:
            mean, spread = sampled.loc[(label, name)]
            cells.append(f"{mean:.4f}" + ("" if np.isnan(spread) else f" ± {spread:.4f}"))
        rows.append([label, *cells])
    heads = [name.removeprefix("sampled_").upper() for name in names]
    document.table(["", *(f"sampled {head}" for head in heads)], rows)


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
    seeds = table["common_seeds"].max()
    text = (
        "Better and worse are said where the difference between the trained models is "
        "significant at 5 % over the sessions (paired bootstrap; p is corrected by Holm's method "
        f"for the family of the {family} comparisons listed below, the intervals are not)"
    )
    if seeds < 2:
        return (
            f"{text}. There are no two seeds to pair: what another training would have given "
            "is not tested."
        )
    return (
        f"{text} and has the same sign for every seed. The paired t test over the seeds, listed "
        "below, asks what other seeds would have given; with few seeds it finds only large and "
        "steady differences."
    )


def _sentence(comparison, label, baseline, table, cutoff) -> str:
    """What changed for the next kept item, the next skipped one, and between the two."""
    parts = []
    for metric in (f"hr@{cutoff}", f"skip_hr@{cutoff}", "feedback_auc"):
        if (label, metric) not in table.index:
            continue
        found = table.loc[(label, metric)]
        ours, theirs = comparison.paired_seeds(label, baseline, metric)
        agree = int(np.count_nonzero(np.sign(ours - theirs) == np.sign(found["difference"])))
        seeds = f", {agree} of {len(ours)} seeds agree" if len(ours) > 1 else ""
        parts.append(
            f"{_title(metric)} is **{_verdict(metric, found, agree == len(ours))}**, "
            f"{table.loc[(baseline, metric), 'mean']:.4f} → {found['mean']:.4f} "
            f"({found['difference']:+.4f}, 95 % interval {found['low']:+.4f} to "
            f"{found['high']:+.4f}, p {_p_value(found['p_sessions_holm'], sign='= ')}{seeds})"
        )
    return f"**{label}**: " + "; ".join(parts) + "."


def _verdict(metric, found, seeds_agree) -> str:
    if not found["p_sessions_holm"] < 0.05:
        return "not clearly different"
    better = (found["difference"] > 0) != metric.startswith("skip")
    word = "better" if better else "worse"
    return word if seeds_agree else f"{word} on average, but not for every seed"


def _title(metric: str) -> str:
    name, _, cutoff = metric.partition("@")
    if not cutoff:
        return _TITLES.get(name, name)
    kind = name.removeprefix("skip_").upper()
    return f"{'skip ' if name.startswith('skip_') else ''}{kind}@{cutoff}"


def _p_value(p: float, sign: str = "") -> str:
    if pd.isna(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{sign}{p:.3f}"
