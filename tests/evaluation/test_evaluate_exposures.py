"""Ranking among what was shown, beside loops over pairs."""

import math

import numpy as np
import pytest
from small_models import build, with_random_weights
from toy_sessions import NUM_ITEMS, toy_sessions

from keras_negrec.data import Sessions
from keras_negrec.evaluation import evaluate_exposures, exposure_metrics

RANDOM = np.random.default_rng(0)


def auc(pairs):
    """Of (score, is kept); None where all are of one kind."""
    kept = [score for score, is_kept in pairs if is_kept]
    skipped = [score for score, is_kept in pairs if not is_kept]
    wins = [(one > other) + (one == other) / 2 for one in kept for other in skipped]
    return sum(wins) / len(wins) if wins else None


def test_against_loops():
    scores = RANDOM.integers(-4, 5, 200) / 2  # many ties
    kept, listeners = RANDOM.random(200) < 0.4, RANDOM.integers(0, 40, 200)
    found = exposure_metrics(scores, kept, listeners, has_odds=True)
    assert found["exposure_auc"] == pytest.approx(auc(list(zip(scores, kept, strict=True))))
    own = [
        list(zip(scores[of], kept[of], strict=True)) for of in (listeners == n for n in range(40))
    ]
    groups = [(auc(pairs), sum(k for _, k in pairs)) for pairs in own if auc(pairs) is not None]
    expected = sum(value * weight for value, weight in groups) / sum(w for _, w in groups)
    assert found["gauc"] == pytest.approx(expected)
    error = 0
    for low in np.arange(20) / 20:
        inside = [
            (1 / (1 + math.exp(-score)), is_kept)
            for score, is_kept in zip(scores, kept, strict=True)
            if low <= 1 / (1 + math.exp(-score)) < low + 0.05
        ]
        error += abs(sum(p - is_kept for p, is_kept in inside))
    assert found["calibration_error"] == pytest.approx(error / 200)
    assert found["num_listeners"] == len(set(listeners))


def test_ndcg_within_listeners():
    found = exposure_metrics([3, 2, 1, 5, 4, 9], [0, 1, 1, 1, 0, 0], [1, 1, 1, 2, 2, 3], k=(1, 2))
    assert found["exposure_ndcg@1"] == pytest.approx((0 + 1 + 0) / 3)
    ideal = 1 + 1 / math.log2(3)
    assert found["exposure_ndcg@2"] == pytest.approx((1 / math.log2(3) / ideal + 1 + 0) / 3)


@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_scores_are_those_of_the_model(name):
    sessions, cuts = toy_sessions(9), np.array([0, 1, 2, 3, 4, 50, 2, 2, 2])
    model = with_random_weights(build(name, negative_loss="keep", context_dim=3))
    found = evaluate_exposures(model, sessions, cuts)
    by_term = evaluate_exposures(model, sessions, cuts, term="keep")
    rows = [row for row in range(9) if 0 < cuts[row] < sessions.lengths[row]]
    for weight, metrics in ((1.0, found), (None, by_term)):
        scores, kept, of = [], [], []
        for row in rows:
            history = sessions.between(0, cuts[[row]], np.array([row]))
            score = model.score(history, ranking_weights={"keep": weight or 1.0})[0]
            if weight is None:
                score = score - model.score(history, ranking_weights={"keep": 0.0})[0]
            after = slice(sessions.row_splits[row] + cuts[row], sessions.row_splits[row + 1])
            for item, value in zip(sessions.item_ids[after], sessions.feedback[after], strict=True):
                if value:
                    scores.append(round(float(score[item - 1]), 4))
                    kept.append(value > 0)
                    of.append(row)
        expected = exposure_metrics(scores, kept, of, has_odds=weight is None)
        assert metrics.keys() == expected.keys()
        for key, value in expected.items():
            assert metrics[key] == pytest.approx(value, abs=0.02), key


def test_what_cannot_be_ranked():
    model = build(negative_loss="keep")
    sessions = Sessions.from_lists([[1, 2]], [[1, -1]])
    with pytest.raises(ValueError, match=r"`term` must be one of .*\['keep'\].*term='likes'"):
        evaluate_exposures(model, sessions, np.array([1]), term="likes")
    with pytest.raises(ValueError, match="No listener has a history and an event after it"):
        evaluate_exposures(model, sessions, np.array([2]))
    unknown = Sessions.from_lists([[1, NUM_ITEMS + 1]])
    with pytest.raises(ValueError, match=f"item id {NUM_ITEMS + 1}|{NUM_ITEMS + 1}"):
        evaluate_exposures(model, unknown, np.array([1]))
