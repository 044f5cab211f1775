"""Figures of merit on the full catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Examples
from keras_negrec.evaluation.rank_targets import Scorer, rank_targets


def evaluate(
    model: Scorer,
    examples: Examples,
    *,
    k: Sequence[int] = (1, 5, 10, 20),
    exclude_seen: bool = True,
    batch_size: int = 1024,
) -> dict[str, float]:
    """Ranks the full catalogue after each history and reports what went up and what went down.

    - `hr@K`: share of examples whose next kept item is among the first K. Higher is better.
    - `ndcg@K`: mean of `1 / log2(1 + rank)` of the next kept item, 0 beyond K. Higher is better.
    - `mrr`: mean of `1 / rank` of the next kept item. Higher is better.
    - `skip_hr@K`, `skip_mrr`: the same for the next skipped item. Lower is better.
    - `feedback_auc`: share of the examples in which the next kept item scores higher than the
      next skipped one, ties half; 0.5 is chance. Higher is better.
    - `num_examples`, `num_skip_examples`: how many examples the figures rest on.

    Args:
        model: a model of this package, or any object with `num_items` and `score`.
        examples: `Examples`.
        k: ints. The cut-offs K.
        exclude_seen: bool. Whether items of the history are taken out of the ranking; a target
            among them counts as missed. `feedback_auc` compares scores and is not affected.
        batch_size: int. The most histories that are scored at once.

    Returns:
        Dict of floats. Figures that rest on no example are NaN.

    Raises:
        ValueError: no examples; a cut-off that is not a positive integer; scores that are NaN.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]], [[1, -1, 1]])
    >>> examples = keras_negrec.data.Examples.after(sessions, np.array([1]))
    >>> model = keras_negrec.models.Popularity(sessions, num_items=3)
    >>> keras_negrec.evaluate(model, examples, k=[1])["hr@1"]
    1.0
    """
    if len(examples) == 0:
        raise ValueError("`examples` must hold at least one example. Received: none.")
    for cutoff in k:
        check_positive_int("k", cutoff)
    ranks = rank_targets(model, examples, exclude_seen=exclude_seen, batch_size=batch_size)
    targets = ranks["target"]
    has_skip = ~np.isnan(ranks["skip_target"])
    skips = ranks["skip_target"][has_skip]
    metrics: dict[str, float] = {}
    for cutoff in k:
        metrics[f"hr@{cutoff}"] = _mean(targets <= cutoff)
    for cutoff in k:
        metrics[f"ndcg@{cutoff}"] = _mean((targets <= cutoff) / np.log2(1 + targets))
    metrics["mrr"] = _mean(1 / targets)
    for cutoff in k:
        metrics[f"skip_hr@{cutoff}"] = _mean(skips <= cutoff)
    metrics["skip_mrr"] = _mean(1 / skips)
    metrics["feedback_auc"] = _mean(ranks["preference"][has_skip])
    metrics["num_examples"] = len(targets)
    metrics["num_skip_examples"] = len(skips)
    return {name: float(value) for name, value in metrics.items()}


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
