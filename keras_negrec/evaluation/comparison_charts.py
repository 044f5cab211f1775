"""The charts of a comparison's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_negrec.evaluation.metric_table import metric_of, metric_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from keras_negrec.evaluation.comparison import Comparison

# Okabe & Ito's colours, which most colour-blind people can tell apart; yellow is too pale here.
_COLORS = ["#000000", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
_LINES = ["-", "--", "-.", ":"]
_CURVE_CUTOFFS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50)


def comparison_charts(comparison: Comparison, baseline: str) -> dict[str, tuple[str, Figure]]:
    """Draws what a table cannot show: a caption and a figure by name.

    Charts that the runs have no data for are left out.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "The report of a comparison needs matplotlib: pip install 'keras-negrec[plot]'"
        ) from error
    styles = {
        label: {
            "label": label,
            "color": _COLORS[i % len(_COLORS)],
            "marker": _MARKERS[i % len(_MARKERS)],
            "linestyle": _LINES[i // len(_COLORS) % len(_LINES)],
        }
        for i, label in enumerate(comparison.labels)
    }
    # Popularity, or an oracle, is far from all models, and would press them into one corner.
    trained = {
        label: style
        for label, style in styles.items()
        if label == baseline or not comparison.is_ready(label)
    }
    close = trained if len(trained) > 1 else styles
    charts = {"hr_curves": _hit_rate_curves(comparison, styles)}
    if "feedback_auc" in comparison.report_metrics():
        charts["trade_off"] = _trade_off(comparison, close)
    if len(close) > 1:
        charts["skip_share"] = _by_skip_share(comparison, baseline, close)
    if any("loss" in run.curves for runs in comparison.runs.values() for run in runs):
        charts["training"] = _training_curves(comparison, styles)
    return charts


def _new_figure(num_panels: int):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * num_panels + 0.4, 4.2), layout="constrained")
    panels = figure.subplots(1, num_panels, squeeze=False)[0]
    for panel in panels:
        panel.grid(color="0.9")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _add_legend(figure, panel) -> None:
    """Below the panels, where it covers nothing, in columns that fit the width."""
    handles, labels = panel.get_legend_handles_labels()
    width = figure.get_figwidth() * 11  # characters
    columns = int(np.clip(width // (max(map(len, labels)) + 7), 1, len(labels)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    figure.set_figheight(figure.get_figheight() + 0.22 * -(-len(labels) // columns))


def _axis(metric: str) -> str:
    return f"{metric_title(metric)} ({metric_of(metric).better} is better)"


def _errors(found) -> np.ndarray:
    """How far the intervals reach below and above their means, `(2, num_points)`."""
    return np.reshape([found["mean"] - found["low"], found["high"] - found["mean"]], (2, -1))


def _hit_rate_curves(comparison, styles):
    figure, [panel] = _new_figure(1)
    figure.set_figwidth(7.5)
    runs = [run for of_label in comparison.runs.values() for run in of_label]
    ranks = np.concatenate([run.ranks["target"] for run in runs])
    largest = np.max(ranks, where=np.isfinite(ranks), initial=1)
    cutoffs = [k for k in _CURVE_CUTOFFS if k <= largest]
    for label, style in styles.items():
        found = comparison.intervals(label, k=cutoffs).loc[[f"hr@{k}" for k in cutoffs]]
        panel.plot(cutoffs, found["mean"], markersize=4, **style)
        band = {"color": style["color"], "alpha": 0.15, "linewidth": 0}
        panel.fill_between(cutoffs, found["low"], found["high"], **band)
    panel.set(xlabel="K", ylabel="HR@K (higher is better)", ylim=(0, None))
    _add_legend(figure, panel)
    caption = (
        "How often the next kept item is among the first K of the whole catalogue. Bands: 95 % "
        "intervals over the examples."
    )
    return caption, figure


def _trade_off(comparison, styles):
    figure, panels = _new_figure(2)
    hits = f"hr@{comparison.cutoff}"
    found = {label: comparison.intervals(label, k=[comparison.cutoff]) for label in styles}
    for panel, metric in zip(panels, [f"skip_{hits}", "feedback_auc"], strict=True):
        for label, style in styles.items():
            x, y = found[label].loc[metric], found[label].loc[hits]
            style = style | {"linestyle": "none", "markersize": 8, "linewidth": 1.2}
            panel.errorbar(x["mean"], y["mean"], xerr=_errors(x), yerr=_errors(y), **style)
        panel.set(xlabel=_axis(metric), ylabel=_axis(hits))
        panel.margins(0.08)
        corner = {"transform": panel.transAxes, "ha": "right", "va": "top", "color": "0.5"}
        panel.text(0.985, 0.98, "better ↗", **corner)
    panels[0].invert_xaxis()
    _add_legend(figure, panels[0])
    caption = (
        "Keeping against skipping: up and to the right is better in both panels (the left axis "
        "runs backwards). Bars: 95 % intervals over the examples; they are wider than those of the "
        "differences, which compare the same examples. Ready scorers are in the first chart only."
    )
    return caption, figure


def _by_skip_share(comparison, baseline, styles):
    metrics = [f"hr@{comparison.cutoff}", "feedback_auc"]
    metrics = [metric for metric in metrics if metric in comparison.report_metrics()]
    others = [label for label in styles if label != baseline]
    k = [comparison.cutoff]
    found = {label: comparison.difference_by_skip_share(label, baseline, k=k) for label in others}
    figure, panels = _new_figure(len(metrics))
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
        panel.set(
            xlabel="share of skips in the history",
            ylabel=f"{metric_title(metric)}: difference from\n{baseline}",
            xlim=(-0.5, len(group) - 0.5),
        )
    _add_legend(figure, panels[0])
    caption = (
        f"What is gained over {baseline} for listeners with few and with many skips: the examples "
        "in quarters by the share of skips in their history. Bars: 95 % intervals."
    )
    return caption, figure


def _training_curves(comparison, styles):
    names = {name for runs in comparison.runs.values() for run in runs for name in run.curves}
    validation = sorted(name for name in names if name.startswith("val_ndcg@"))
    shown = ["loss", *validation[:1]]
    figure, panels = _new_figure(len(shown))
    for panel, name in zip(panels, shown, strict=True):
        for label, style in styles.items():
            curves = [run.curves[name] for run in comparison.runs[label] if name in run.curves]
            for i, curve in enumerate(curves):
                of_seed = style | {"label": None if i else label, "markersize": 3, "linewidth": 1}
                panel.plot(np.arange(1, len(curve) + 1), curve, **of_seed)
        title = "total training loss"
        if name != "loss":
            title = f"validation {metric_title(name.removeprefix('val_'))}"
        panel.set(xlabel="epoch", ylabel=title)
        panel.xaxis.get_major_locator().set_params(integer=True)
    _add_legend(figure, panels[0])
    caption = (
        "Training, one line a seed. Total losses of different objectives have different terms and "
        "cannot be compared by their height."
    )
    return caption, figure
