"""Metrics among what was really shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from keras import ops

from keras_negrec.argument_checks import check_positive_ints
from keras_negrec.data import Sessions
from keras_negrec.evaluation.ranking_metrics import Metrics

_BINS = 20


def evaluate_exposures(
    model: Any, sessions: Sessions, cuts: np.ndarray, *, term: str | None = None, k=(5,)
) -> Metrics:
    """Ranks what each listener was shown after a history, and nothing else.

    Other items are not asked about: nobody knows how they would have been received. The events
    after the cut are all ranked after the same history, whatever came between.

    - `exposure_auc`: how often a kept event scores above a skipped one, whoever's; ties half.
    - `gauc`: the same within each listener who has both, weighted by the number of kept ones.
    - `exposure_ndcg@K`: NDCG@K within each listener, 0 without a kept event, then the mean.
    - `calibration_error`: of the term `"keep"`, whose scores are log odds: how far the probability
      of being kept is from the share that was kept, in the mean over 20 bins of the probability,
      weighted by the number of events in each.
    - `num_exposures`, `num_listeners`: those that count.

    Args:
        model: a model of this package.
        sessions: `Sessions`, a row for each listener. Events with feedback 0 don't count.
        cuts: int array of shape `(num_sessions,)`: how many of the first events are the history.
            Listeners without a history or without an event after it are left out.
        term: str or None. Rank by this feedback term alone, such as `"keep"`; None: by the model's
            score, in which it has its ranking weight.
        k: ints. The cut-offs K.

    Returns:
        `Metrics`.

    Raises:
        ValueError: no listener is left; a term that does not rank in the model; an item id that
            the model does not know.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3, 1]], [[1, -1, 1, -1]])
    >>> model = keras_negrec.build_model("sasrec", num_items=3, negative_loss="keep")
    >>> found = keras_negrec.evaluation.evaluate_exposures(model, sessions, np.array([2]))
    >>> found["num_exposures"], found["num_listeners"]
    (2.0, 1.0)

    Reference:
        [Zhou et al., 2018](https://arxiv.org/abs/1706.06978) on GAUC;
        [Guo et al., 2017](https://arxiv.org/abs/1706.04599) on the calibration error.
    """
    k, cuts = check_positive_ints("k", k), np.asarray(cuts)
    if term is not None and term not in model.ranking_weights:
        raise ValueError(
            f"`term` must be one of the feedback terms that rank, {list(model.ranking_weights)}. "
            f"Received: term={term!r}"
        )
    rows = np.flatnonzero((cuts > 0) & (cuts < sessions.lengths))
    if len(rows) == 0:
        raise ValueError(
            "No listener has a history and an event after it. Received: "
            f"{len(sessions)} sessions, cuts from {cuts.min(initial=0)} to {cuts.max(initial=0)}"
        )
    shown = sessions.between(cuts[rows], sessions.lengths[rows], rows)
    weights = {} if term is None else {"ranking_weights": {term: 1.0}}
    histories = model.history_vectors(sessions.between(0, cuts[rows], rows), **weights)
    items = ops.convert_to_numpy(ops.cast(model.item_vectors(), "float32"))
    columns = np.arange(items.shape[1])
    if term is not None:
        columns = np.concatenate([columns[one] for one in model.ranking_columns[term]])
    counts = shown.feedback != 0
    shown.check_catalogue(model.num_items, getattr(model, "vocabulary", None))
    of, ids = shown.rows()[counts], shown.item_ids[counts] - 1
    scores = np.einsum("ed,ed->e", histories[of][:, columns], items[ids][:, columns])
    return exposure_metrics(scores, shown.feedback[counts] > 0, of, k, has_odds=term == "keep")


def exposure_metrics(scores, is_kept, listeners, k=(5,), *, has_odds: bool = False) -> Metrics:
    """The metrics of `evaluate_exposures` from scores that are already there.

    Args:
        scores: float array of shape `(num_exposures,)`.
        is_kept: bool array of that shape.
        listeners: array of that shape, whose exposure it is.
        k: ints. The cut-offs K.
        has_odds: bool. Whether the scores are log odds of being kept.

    Example:

    >>> metrics = keras_negrec.evaluation.exposure_metrics([2.0, 1.0, 0.5], [1, 0, 1], [7, 7, 8])
    >>> metrics["exposure_auc"], metrics["gauc"], metrics["exposure_ndcg@5"]
    (0.5, 1.0, 1.0)
    """
    table = pd.DataFrame({"score": scores, "kept": np.asarray(is_kept, bool), "of": listeners})
    found = Metrics()
    found["exposure_auc"] = float(_auc(table.assign(of=0)).iloc[0]["auc"])
    groups = _auc(table).dropna()
    found["gauc"] = (
        float(np.average(groups["auc"], weights=groups["kept"])) if len(groups) else np.nan
    )
    places = table.groupby("of")["score"].rank("first", ascending=False)
    ideal = table.groupby("of")["kept"].rank("first", ascending=False)
    for cutoff in k:
        gains = [
            pd.Series(table["kept"] * (place <= cutoff) / np.log2(1 + place))
            .groupby(table["of"])
            .sum()
            for place in (places, ideal)
        ]
        found[f"exposure_ndcg@{cutoff}"] = float((gains[0] / gains[1]).fillna(0.0).mean())
    if has_odds:
        probabilities = 1 / (1 + np.exp(-table["score"].clip(-60, 60)))
        bins = (probabilities * _BINS).astype(int).clip(upper=_BINS - 1)
        distance = (probabilities - table["kept"]).groupby(bins).sum().abs()
        found["calibration_error"] = float(distance.sum() / len(table))
    found["num_exposures"] = float(len(table))
    found["num_listeners"] = float(table["of"].nunique())
    return found


def _auc(table: pd.DataFrame) -> pd.DataFrame:
    """For each listener the AUC, NaN where all events are of one kind, and how many are kept."""
    ranks = table.groupby("of")["score"].rank()
    kept = table.groupby("of")["kept"].sum()
    pairs = kept * (table.groupby("of").size() - kept)
    above = (ranks * table["kept"]).groupby(table["of"]).sum() - kept * (kept + 1) / 2
    return pd.DataFrame({"auc": above / pairs.where(pairs > 0), "kept": kept})
