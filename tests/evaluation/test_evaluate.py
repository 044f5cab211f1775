import math

import numpy as np
import pytest
from table_scorer import TableScorer as Table

import keras_negrec
from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import evaluate_sampled


def hand_worked():
    """Three examples whose targets have ranks 1, 3 and 2.5, skip targets 2, none and 1."""
    scores = [[9, 8, 7, 6], [9, 8, 7, 6], [5, 9, 5, 0]]
    examples = Examples(
        Sessions.from_lists([[4], [4], [4]]), np.array([1, 3, 3]), np.array([2, 0, 2])
    )
    return Table(scores), examples


def test_hand_worked_numbers():
    metrics = keras_negrec.evaluate(*hand_worked(), k=(1, 2, 3))
    ranks = [1, 3, 2.5]
    expected = {
        "hr@1": 1 / 3,
        "hr@2": 1 / 3,
        "hr@3": 1.0,
        "ndcg@1": 1 / 3,
        "ndcg@2": 1 / 3,
        "ndcg@3": sum(1 / math.log2(1 + rank) for rank in ranks) / 3,
        "mrr": (1 + 1 / 3 + 1 / 2.5) / 3,
        "mrr@1": 1 / 3,
        "mrr@2": 1 / 3,
        "mrr@3": (1 + 1 / 3 + 1 / 2.5) / 3,
        "map@1": 1 / 3,
        "map@2": 1 / 3,
        "map@3": (1 + 1 / 3 + 1 / 2.5) / 3,
        "skip_hr@1": 0.5,
        "skip_hr@2": 1.0,
        "skip_hr@3": 1.0,
        "skip_mrr": (1 / 2 + 1) / 2,
        "feedback_auc": 0.5,  # one above its skip, one below
        "coverage@1": 2 / 4,  # items 1 and 2; item 4 is in every history
        "coverage@2": 2 / 4,
        "coverage@3": 3 / 4,
        "num_examples": 3,
        "num_skip_examples": 2,
    }
    assert metrics == pytest.approx(expected)
    assert all(type(value) is float for value in metrics.values())


@pytest.mark.parametrize("evaluate", [keras_negrec.evaluate, evaluate_sampled])
def test_exclude_seen_is_that_of_the_examples(evaluate):
    """And a target that is seen counts as missed."""
    model = Table([[9, 1], [9, 1]])
    examples = Examples(Sessions.from_lists([[1], [2]]), np.array([1, 1]))
    prefix = "" if evaluate is keras_negrec.evaluate else "sampled_"
    name, with_seen = f"{prefix}mrr", examples.replace(exclude_seen=False)
    assert evaluate(model, examples)[f"{prefix}hr@20"] == 0.5
    assert evaluate(model, examples)[name] == evaluate(model, with_seen, exclude_seen=True)[name]
    assert evaluate(model, examples)[name] == 0.5
    assert evaluate(model, with_seen)[name] == evaluate(model, examples, exclude_seen=False)[name]
    assert evaluate(model, with_seen)[name] == 1


def test_examples_with_a_skip_alone_count_for_skips_alone():
    model, examples = hand_worked()
    examples = Examples(examples.histories, np.array([1, 0, 3]), np.array([2, 3, 0]))
    metrics = keras_negrec.evaluate(model, examples, k=(2,))
    assert (metrics["hr@2"], metrics["mrr"]) == pytest.approx((1 / 2, (1 + 1 / 2.5) / 2))
    assert (metrics["skip_hr@2"], metrics["skip_mrr"]) == pytest.approx(
        (1 / 2, (1 / 2 + 1 / 3) / 2)
    )
    assert metrics["feedback_auc"] == 1
    assert metrics["num_examples"] == metrics["num_skip_examples"] == 2
    sampled = evaluate_sampled(model, examples, k=(2,))
    assert sampled["sampled_skip_mrr"] == metrics["skip_mrr"]
    assert sampled["sampled_mrr"] == metrics["mrr"]


def test_no_skips_gives_nan():
    model, examples = hand_worked()
    metrics = keras_negrec.evaluate(model, examples.take([1]), k=(1,))
    assert metrics["num_skip_examples"] == 0
    for name in ("skip_hr@1", "skip_mrr", "feedback_auc"):
        assert math.isnan(metrics[name])
    assert metrics["mrr"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_coverage_against_a_loop(exclude_seen):
    random = np.random.default_rng(1)
    num_items, k = 30, (1, 3, 10, 28, 100)
    scores = random.permuted(np.tile(np.arange(num_items), (12, 1)), axis=1)
    histories = random.integers(1, 20, (12, 4)).tolist()
    examples = Examples(
        Sessions.from_lists(histories), random.integers(1, num_items, 12), np.zeros(12, int)
    )
    covered = {cutoff: set() for cutoff in k}
    for row, seen in zip(scores, histories, strict=True):
        items = [item for item in range(1, num_items + 1) if not (exclude_seen and item in seen)]
        ranked = sorted(items, key=lambda item: -row[item - 1])
        for cutoff in k:
            covered[cutoff].update(ranked[:cutoff])
    metrics = keras_negrec.evaluate(
        Table(scores), examples, k=k, exclude_seen=exclude_seen, batch_size=5
    )
    for cutoff in k:
        assert metrics[f"coverage@{cutoff}"] == len(covered[cutoff]) / num_items
    assert metrics["coverage@1"] < metrics["coverage@3"] < metrics["coverage@10"]


def test_scores_once():
    model, examples = hand_worked()
    score, calls = model.score, []
    model.score = lambda histories: calls.append(len(histories)) or score(histories)
    keras_negrec.evaluate(model, examples)
    assert calls == [3]


def test_no_examples():
    model, examples = hand_worked()
    with pytest.raises(ValueError, match="`examples` must hold at least one example"):
        keras_negrec.evaluate(model, examples.take(np.array([], int)))
