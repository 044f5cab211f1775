"""Metrics on the full catalogue."""

from __future__ import annotations

from collections.abc import Sequence

from keras_negrec.argument_checks import check_positive_ints
from keras_negrec.data import Examples
from keras_negrec.evaluation.metrics import Metrics
from keras_negrec.evaluation.rank_targets import rank_targets
from keras_negrec.evaluation.ranking_metrics import ranking_metrics
from keras_negrec.evaluation.scorer import Scorer, VectorScorer


def evaluate(
    model: Scorer | VectorScorer,
    examples: Examples,
    *,
    k: Sequence[int] = (1, 5, 10, 20),
    exclude_seen: bool | None = None,
    batch_size: int = 1024,
) -> Metrics:
    """Ranks the full catalogue after each history and reports what went up and what went down.

    - `hr@K`: share of examples whose next kept item is among the first K.
    - `ndcg@K`: mean of `1 / log2(1 + rank)` of the next kept item, 0 beyond K.
    - `mrr`: mean of `1 / rank` of the next kept item. `mrr@K`, `map@K`: the same, 0 beyond K. With
      one relevant item the two are always equal; papers report one or the other.
    - `skip_hr@K`, `skip_mrr`: as `hr@K` and `mrr`, for the next skipped item. Lower is better.
    - `feedback_auc`: share of the examples in which the next kept item scores higher than the
      next skipped one, ties half; 0.5 is chance.
    - `coverage@K`: share of the catalogue that is among the first K after at least one of the
      histories. It grows with the number of examples.
    - `num_examples`, `num_skip_examples`: how many examples have a kept item, and how many a
      skipped one. Each metric is the mean over the examples that have what it needs.
    - Metrics of your own: see `keras_negrec.evaluation.register_metric`.

    Args:
        model: a model of this package, or any `keras_negrec.evaluation.Scorer` (an object with
            `num_items` and `score`) or `VectorScorer`.
        examples: `Examples`.
        k: ints. The cut-offs K.
        exclude_seen: bool or None. Whether items of the history are taken out of the ranking; a
            target among them counts as missed. `feedback_auc` compares scores and is not affected.
            None: as the examples say, which as a rule is True.
        batch_size: int. The most histories that are scored at once.

    Returns:
        `Metrics`, a dict of floats that prints as a table. Those that rest on no example are NaN.

    Raises:
        ValueError: no examples; a cut-off that is not a positive integer; scores that are NaN.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]], [[1, -1, 1]])
    >>> examples = keras_negrec.data.Examples.after(sessions, np.array([1]))
    >>> model = keras_negrec.models.Popularity(sessions, num_items=3)
    >>> metrics = keras_negrec.evaluate(model, examples, k=[1])
    >>> metrics["hr@1"], round(metrics["coverage@1"], 3)
    (1.0, 0.333)
    """
    check_examples(examples)
    k = check_positive_ints("k", k)
    ranks = rank_targets(
        model,
        examples,
        exclude_seen=exclude_seen,
        batch_size=batch_size,
        top_k=max(k, default=None),
    )
    return ranking_metrics(ranks, k=k, num_items=model.num_items)


def check_examples(examples: Examples) -> None:
    """An error unless they are examples, and there are some."""
    if not isinstance(examples, Examples):
        raise TypeError(
            "`examples` must be `Examples`, such as the `test` of a `Split`. Received one of type "
            f"{type(examples).__name__}."
        )
    if len(examples) == 0:
        raise ValueError("`examples` must hold at least one example. Received: none.")
