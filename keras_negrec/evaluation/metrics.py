"""What an evaluation returns."""

from __future__ import annotations

import math

from keras_negrec.evaluation.metric_table import METRICS

_WIDTH = 80


class Metrics(dict):
    """Metrics by their names, a dict of floats that prints as a table of four decimals.

    Example:

    >>> metrics = {"hr@5": 0.25, "hr@10": 1 / 3, "skip_mrr": 0.1, "num_examples": 1200.0}
    >>> keras_negrec.evaluation.Metrics(metrics)
    metric                       @5      @10  better
    hr                       0.2500   0.3333  higher
    skip_mrr        0.1000                    lower
    num_examples     1,200
    """

    def __repr__(self) -> str:
        rows: dict[str, dict[int, str]] = {}
        for name, value in self.items():
            base, _, cutoff = name.partition("@")
            rows.setdefault(base, {})[int(cutoff or 0)] = _text(base, value)
        cutoffs = sorted({cutoff for row in rows.values() for cutoff in row})
        first = max(map(len, [*rows, "metric"]))
        at_once = (_WIDTH - first - len("  higher")) // 9
        blocks = []
        for start in range(0, len(cutoffs), at_once):
            columns = cutoffs[start : start + at_once]
            lines = [_line("metric", [f"@{k}" if k else "" for k in columns], "better", first)]
            for base, row in rows.items():
                if row.keys() & set(columns):
                    cells = [row.get(cutoff, "") for cutoff in columns]
                    lines.append(_line(base, cells, _better(base), first))
            blocks.append("\n".join(lines))
        return "\n\n".join(blocks)


def _text(base: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if "num_" in base or abs(value) >= 1000 else f"{value:.4f}"


def _better(base: str) -> str:
    base = base.removeprefix("sampled_")
    metric = METRICS.get(base, METRICS.get(f"{base}@K"))
    return "" if metric is None else metric.better


def _line(name: str, cells: list[str], better: str, first: int) -> str:
    return f"{name:<{first}}{''.join(f'{cell:>9}' for cell in cells)}  {better}".rstrip()
