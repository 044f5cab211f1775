"""What a model with the keep loss gains over the same model without."""

from __future__ import annotations

import re
import textwrap

import numpy as np

import keras_negrec as kn
from progress import doing
from training import ranks_by_keep


def write_trade_offs(args, comparison, trainings, split) -> list[str]:
    """For each such model a picture of hits against skips by its one weight, and what was gained.

    The models of all seeds count as one: the mean of what they find.

    Returns:
        Lines to be printed.
    """
    options, lines = {"exclude_seen": args.exclude_seen}, []
    if not (split.test.skip_targets > 0).any():
        return []
    for label, settings in trainings.firsts.values():
        baseline = trainings.baseline_of(settings)
        if not ranks_by_keep(settings) or baseline is None:
            continue
        with doing(f"{label}: hits and skips at several weights"):
            models = [trainings.model(settings, seed) for seed in args.seed]
            curve = kn.evaluation.trade_off(models, split.test, term="keep", **options)
            models = [trainings.model(baseline, seed) for seed in args.seed]
            without = kn.evaluation.trade_off(models, split.test, weights=[], **options)
            gains = {at: curve.against(without, at) for at in ("equal hits", "equal skips")}
        name = baseline["model"]["encoder"]
        beside = [one for one in (name, "popularity") if one in comparison.labels]
        path = args.out / f"{re.sub('[^a-z0-9]+', '-', label.lower()).strip('-')}.png"
        figure = curve.figure({one: comparison.seed_metrics(one).mean() for one in beside})
        figure.savefig(path, dpi=150)
        lines += [f"\n{sentence(label, name, gains)}", f"hits against skips, drawn: {path}"]
    return lines


def sentence(label: str, baseline: str, gains: dict[str, dict[str, float]]) -> str:
    """The gains in words, in lines of 80 columns."""
    parts = []
    for at, what in (("equal hits", "skips"), ("equal skips", "hits")):
        gain = {name: 100 * value for name, value in gains[at].items()}
        if not np.isnan(gain["change"]):
            which = "fewer" if gain["change"] < 0 else "more"
            interval = f"95 % interval {gain['low']:+.0f} to {gain['high']:+.0f} %"
            if np.isnan(gain["low"]):
                interval = "too few histories for an interval"
            parts.append(f"at {at} {abs(gain['change']):.0f} % {which} {what} ({interval})")
    found = ", and ".join(parts) or "no weight gives the same hits, or the same skips"
    return textwrap.fill(f"{label} against {baseline}, in the first ten: {found}.", 80)
