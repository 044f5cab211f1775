"""The charts of a comparison's report."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from keras_negrec.evaluation.ranking_metrics import metric_of, metric_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from keras_negrec.evaluation.comparison import Comparison

# Okabe & Ito's colours, which most colour-blind people can tell apart; yellow is too pale here.
_COLORS = ["#000000", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
_CURVE_CUTOFFS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50)


def comparison_charts(comparison: Comparison, baseline: str) -> dict[str, tuple[str, Figure]]:
    """What a table cannot show and the runs have data for: a caption and a figure by name."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            "The report of a comparison needs matplotlib: pip install 'keras-negrec[plot]'"
        ) from error
    styles = {
        label: {"label": _legend_text(label), "color": color, "marker": marker}
        for label, color, marker in zip(comparison.labels, cycle(_COLORS), cycle(_MARKERS))
    }
    # Popularity, or an oracle, is far from all models, and would press them into one corner.
    trained = [label for label in styles if label == baseline or not comparison.is_ready(label)]
    close = {label: styles[label] for label in trained} if len(trained) > 1 else styles
    with matplotlib.rc_context({"text.parse_math": False}):  # a $ in a label is a $
        charts, metrics = {}, comparison.report_metrics()
        if "mrr" in metrics:  # examples have targets
            charts["hr_curves"] = _hit_rate_curves(comparison, styles)
        if "feedback_auc" in metrics:
            charts["trade_off"] = _trade_off(comparison, close)
        if "mrr" in metrics and len(close) > 1:
            charts["skip_share"] = _by_skip_share(comparison, baseline, close)
        if any("loss" in run.curves for runs in comparison.runs.values() for run in runs):
            charts["training"] = _training_curves(comparison, styles)
    return charts


def _legend_text(label: str) -> str:
    """In one line, and not too long; matplotlib leaves out what starts with an underscore."""
    line = " ".join(label.split())
    line = f"{line[:57]}..." if len(line) > 60 else line
    return f" {line}" if line.startswith("_") else line


def _new_figure(num_panels: int, styles: dict):
    """The figure and its panels, with the labels below, where they cover nothing."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    width = 5.2 * max(num_panels, 1.4)
    longest = max(len(style["label"]) for style in styles.values())
    columns = int(np.clip(11 * width // (longest + 7), 1, len(styles)))
    height = 4.2 + 0.22 * -(-len(styles) // columns)
    figure = Figure(figsize=(width, height), layout="constrained")
    handles = [Line2D([], [], **style) for style in styles.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    panels = figure.subplots(1, num_panels, squeeze=False)[0]
    for panel in panels:
        panel.grid(color="0.9")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _errors(found) -> np.ndarray:
    """How far the intervals reach below and above their means, `(2, num_points)`."""
    return np.reshape([found["mean"] - found["low"], found["high"] - found["mean"]], (2, -1))


def _hit_rate_curves(comparison, styles):
    figure, [panel] = _new_figure(1, styles)
    ranks = [run.ranks["target"] for runs in comparison.runs.values() for run in runs]
    largest = np.max(ranks, where=np.isfinite(ranks), initial=1)
    cutoffs = [k for k in _CURVE_CUTOFFS if k <= largest]
    for label, style in styles.items():
        found = comparison.intervals(label, k=cutoffs).loc[[f"hr@{k}" for k in cutoffs]]
        panel.plot(cutoffs, found["mean"], markersize=4, **style)
        panel.fill_between(
            cutoffs, found["low"], found["high"], color=style["color"], alpha=0.15, linewidth=0
        )
    panel.set(xlabel="K", ylabel="HR@K (higher is better)", ylim=(0, None))
    caption = "How often the next kept item is among the first K. Bands: 95 % intervals."
    return caption, figure


def _trade_off(comparison, styles):
    figure, panels = _new_figure(2, styles)
    hits = f"hr@{comparison.cutoff}"
    found = {label: comparison.intervals(label, k=[comparison.cutoff]) for label in styles}
    for panel, metric in zip(panels, [f"skip_{hits}", "feedback_auc"], strict=True):
        for label, style in styles.items():
            x, y = found[label].loc[metric], found[label].loc[hits]
            style = style | {"linestyle": "none", "markersize": 8}
            panel.errorbar(x["mean"], y["mean"], xerr=_errors(x), yerr=_errors(y), **style)
        xlabel = f"{metric_title(metric)} ({metric_of(metric).better} is better)"
        panel.set(xlabel=xlabel, ylabel=f"{metric_title(hits)} (higher is better)")
        panel.text(0.98, 0.98, "better ↗", transform=panel.transAxes, ha="right", va="top")
    panels[0].invert_xaxis()
    return (
        "Keeping against skipping: up and to the right is better in both panels. Bars: 95 % "
        "intervals over the examples; they are wider than those of the differences, which compare "
        "the same examples. Ready scorers are in the first chart only."
    ), figure


def _by_skip_share(comparison, baseline, styles):
    metrics = [f"hr@{comparison.cutoff}", "feedback_auc"]
    metrics = [metric for metric in metrics if metric in comparison.report_metrics()]
    others = [label for label in styles if label != baseline]
    k = [comparison.cutoff]
    found = {label: comparison.difference_by_skip_share(label, baseline, k=k) for label in others}
    figure, panels = _new_figure(len(metrics), {label: styles[label] for label in others})
    for panel, metric in zip(panels, metrics, strict=True):
        panel.axhline(0, color=styles[baseline]["color"], linewidth=1)
        for i, label in enumerate(others):
            group = found[label].xs(metric, level="metric")
            x = np.arange(len(group)) + (i - (len(others) - 1) / 2) * min(0.15, 0.7 / len(others))
            style = styles[label] | {"linestyle": "none", "markersize": 6}
            panel.errorbar(x, group["mean"], yerr=_errors(group), **style)
        ticks = [
            f"{max(0, share.left):.0%} to {share.right:.0%}\nn = {number:,}"
            for share, number in group["num_examples"].items()
        ]
        panel.set_xticks(np.arange(len(group)), ticks)
        title = f"{metric_title(metric)}: difference from\n{styles[baseline]['label']}"
        panel.set(xlabel="share of skips in the history", ylabel=title)
    return (
        f"What is gained over {baseline} for listeners with few and with many skips: the examples "
        "in quarters by the share of skips in their history. Bars: 95 % intervals."
    ), figure


def _training_curves(comparison, styles):
    names = {name for runs in comparison.runs.values() for run in runs for name in run.curves}
    shown = {"loss": "total training loss"}
    for name in sorted(name for name in names if name.startswith("val_ndcg@"))[:1]:
        shown[name] = f"validation {metric_title(name.removeprefix('val_'))}"
    trained = {label: styles[label] for label in styles if not comparison.is_ready(label)}
    figure, panels = _new_figure(len(shown), trained)
    for panel, (name, title) in zip(panels, shown.items(), strict=True):
        for label, style in trained.items():
            for curve in (run.curves.get(name, []) for run in comparison.runs[label]):
                epochs = np.arange(1, len(curve) + 1)
                panel.plot(epochs, curve, **style | {"markersize": 3, "linewidth": 1})
        panel.set(xlabel="epoch", ylabel=title)
        panel.xaxis.get_major_locator().set_params(integer=True)
    return (
        "Training, one line a seed. Total losses of different objectives have different terms and "
        "cannot be compared by their height."
    ), figure
