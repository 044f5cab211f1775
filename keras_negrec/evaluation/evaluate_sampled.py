"""Metrics among sampled candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_negrec.argument_checks import check_positive_int, check_positive_ints
from keras_negrec.data import Examples
from keras_negrec.evaluation.evaluate import check_examples
from keras_negrec.evaluation.metrics import Metrics
from keras_negrec.evaluation.rank_count import RankCount
from keras_negrec.evaluation.ranking_metrics import ranking_metrics
from keras_negrec.evaluation.score_chunks import score_chunks
from keras_negrec.evaluation.scorer import Scorer


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
    with their numbers. Such metrics depend on the batches and on the sample, are higher than
    those of `evaluate`, may put models in another order, and must not be compared with full
    ones. Use `evaluate` for every other purpose.

    The candidates of a batch are its targets and `num_negatives` items drawn uniformly, without
    replacement, once for the batch; an item that is both counts once. A skip target is ranked
    among the same candidates and itself.

    Args:
        model: a model of this package, or any object with `num_items` and `score`.
        examples: `Examples`, batched in their order.
        num_negatives: int. Items drawn for each batch. A catalogue of no more items is taken
            whole, and the metrics are then the full ones.
        batch_size: int. Examples that share candidates.
        k: ints. The cut-offs K.
        exclude_seen: bool or None. As in `evaluate`.
        seed: int. The same seed draws the same items.

    Returns:
        `Metrics`, those of `evaluate` but coverage with `sampled_` before each name.
        `sampled_feedback_auc` compares two scores and is the same as without sampling.

    Raises:
        ValueError: no examples; a cut-off, `num_negatives` or `batch_size` that is not a
            positive integer; scores that are NaN.

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
    check_positive_int("num_negatives", num_negatives)
    check_positive_int("batch_size", batch_size)
    k = check_positive_ints("k", k)
    random = np.random.default_rng(seed)
    num_negatives = min(num_negatives, model.num_items)
    parts = []
    for start in range(0, len(examples), batch_size):
        batch = examples.take(np.arange(start, min(start + batch_size, len(examples))))
        negatives = 1 + random.choice(model.num_items, num_negatives, replace=False)
        columns = np.union1d(batch.targets[batch.targets > 0], negatives) - 1
        count = RankCount(batch, exclude_seen=exclude_seen)
        for indices, scores in score_chunks(model, batch.histories, batch_size):
            rows = slice(indices[0], indices[-1] + 1)
            count.read_own(rows, scores)
            count.add(rows, columns, scores[:, columns])
        parts.append(count.ranks())
    ranks = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    metrics = ranking_metrics(ranks, k=k)
    return Metrics({f"sampled_{name}": value for name, value in metrics.items()})
