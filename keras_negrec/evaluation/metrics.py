"""What an evaluation returns."""

from __future__ import annotations

import math

from keras_negrec.evaluation.metric_table import better

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
        rows: dict[str, dict[str, str]] = {}
        for name, value in self.items():
            base, _, cutoff = name.partition("@")
            rows.setdefault(base, {})[cutoff] = _text(base, value)
        cutoffs = sorted({cutoff for row in rows.values() for cutoff in row} - {""}, key=int)
        if any("" in row for row in rows.values()):
            cutoffs.insert(0, "")
        first = max(map(len, [*rows, "metric"]))
        at_once = (_WIDTH - first - len("  higher")) // 9
        blocks = []
        for start in range(0, len(cutoffs), at_once):
            columns = cutoffs[start : start + at_once]
            heads = [f"@{cutoff}" if cutoff else "" for cutoff in columns]
            lines = [["metric", *heads, "better"]]
            for base, row in rows.items():
                cells = [row.get(cutoff, "") for cutoff in columns]
                name = next(f"{base}@{cutoff}" if cutoff else base for cutoff in row)
                if any(cells):
                    lines.append([base, *cells, better(name)])
            blocks.append("\n".join(_line(cells, first) for cells in lines))
        return "\n\n".join(blocks)


def _text(name: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if "num_" in name or abs(value) >= 1000 else f"{value:.4f}"


def _line(cells: list[str], first: int) -> str:
    name, *values, last = cells
    return f"{name:<{first}}{''.join(f'{value:>9}' for value in values)}  {last}".rstrip()
