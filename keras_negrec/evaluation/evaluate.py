"""Metrics on the full catalogue, and among sampled candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_negrec.argument_checks import check_positive_int, check_positive_ints
from keras_negrec.data import Examples
from keras_negrec.evaluation.rank_targets import RankCount, rank_targets, retired_ids
from keras_negrec.evaluation.ranking_metrics import Metrics, ranking_metrics
from keras_negrec.evaluation.scorer import Scorer, VectorScorer, excludes_seen, score_chunks


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
    - `mrr`: mean of `1 / rank` of the next kept item. `mrr@K`, `map@K`: the same, 0 beyond K; the
      two are equal with one relevant item, and papers report one or the other.
    - `skip_hr@K`, `skip_mrr`: as `hr@K` and `mrr`, for the next skipped item. Lower is better.
    - `kept_share@K`: of the examples with the next kept or the next skipped item among the first K,
      how often it is the kept one; both count half, and 0.5 is chance. It does not reward a model
      for fewer skips that only finds less. Both targets must be known.
    - `hr_difference@K`, `ndcg_difference@K`: `hr@K` less `skip_hr@K`, and the same of NDCG; high
      where what was kept is found and what was skipped is not. An example with one of them counts.
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
            None: as the examples say, and where they say nothing as the model does.
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
    top_k = max(k, default=None)
    ranks = rank_targets(
        model, examples, exclude_seen=exclude_seen, batch_size=batch_size, top_k=top_k
    )
    return ranking_metrics(ranks, k=k, num_items=model.num_items)


def evaluate_sampled(
    model: Scorer,
    examples: Examples,
    *,
    num_negatives: int = 1000,
    batch_size: int = 128,
    k: Sequence[int] = (1, 5, 10, 20),
    exclude_seen: bool | None = None,
    seed: int = 0,
) -> Metrics:
    """Ranks each target among the targets of its batch and a sample of the catalogue.

    This is the protocol of papers that rank "among 1000 sampled negatives", for a comparison
    with their numbers. Such metrics depend on batches and sample, are higher than those of
    `evaluate`, may put models in another order, and must not be compared with full ones.

    Args:
        model, k, exclude_seen: as in `evaluate`; the model must have `score`.
        examples: `Examples`, batched in their order.
        num_negatives: int. Items drawn for each batch, uniformly and without replacement; all,
            and the metrics are the full ones, where the catalogue has no more.
        batch_size: int. Examples that share candidates: their targets and the items drawn. A skip
            target is ranked among these and itself.
        seed: int. Of the draws.

    Returns:
        `Metrics`, those of `evaluate` but coverage with `sampled_` before each name.
        `sampled_feedback_auc` compares two scores and is the same as without sampling.

    Raises:
        ValueError: no examples; arguments that are not positive integers; scores that are NaN.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]], [[1, -1, 1]])
    >>> examples = keras_negrec.data.Examples.after(sessions, np.array([1]))
    >>> model = keras_negrec.models.Popularity(sessions, num_items=3)
    >>> metrics = keras_negrec.evaluation.evaluate_sampled(model, examples, num_negatives=2)
    >>> metrics["sampled_hr@1"]
    1.0

    Reference:
        [Krichene & Rendle, 2020](https://doi.org/10.1145/3394486.3403226) on why such metrics
        mislead.
    """
    check_examples(examples)
    check_positive_int("batch_size", batch_size)
    k = check_positive_ints("k", k)
    num_negatives = min(check_positive_int("num_negatives", num_negatives), model.num_items)
    random = np.random.default_rng(seed)
    parts = []
    for start in range(0, len(examples), batch_size):
        batch = examples.take(np.arange(start, min(start + batch_size, len(examples))))
        negatives = 1 + random.choice(model.num_items, num_negatives, replace=False)
        columns = np.union1d(batch.targets[batch.targets > 0], negatives) - 1
        exclude_seen = excludes_seen(model, batch, exclude_seen)
        count = RankCount(batch, exclude_seen=exclude_seen, retired=retired_ids(model))
        for rows, scores in score_chunks(model, batch.histories, batch_size):
            count.read_own(rows, scores)
            count.add(rows, columns, scores[:, columns])
        parts.append(count.ranks())
    ranks = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    metrics = ranking_metrics(ranks, k=k)
    return Metrics({f"sampled_{name}": value for name, value in metrics.items()})


def check_examples(examples: Examples) -> None:
    """An error unless they are examples, and there are some."""
    if not isinstance(examples, Examples):
        raise TypeError(
            "`examples` must be `Examples`, such as the `test` of a `Split`. Received one of type "
            f"{type(examples).__name__}."
        )
    if len(examples) == 0:
        raise ValueError("`examples` must hold at least one example. Received: none.")
