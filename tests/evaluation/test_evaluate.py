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
    mrr = (1 + 1 / 3 + 1 / 2.5) / 3
    expected = {f"{name}@{k}": 1 / 3 for name in ("hr", "ndcg", "mrr", "map") for k in (1, 2)}
    expected |= {
        "hr@3": 1.0,
        "ndcg@3": sum(1 / math.log2(1 + rank) for rank in ranks) / 3,
        **dict.fromkeys(("mrr", "mrr@3", "map@3"), mrr),
        "skip_hr@1": 0.5,
        "skip_hr@2": 1.0,
        "skip_hr@3": 1.0,
        "skip_mrr": (1 / 2 + 1) / 2,
        "kept_share@1": 0.5,
        "kept_share@2": (0.5 + 0) / 2,  # both found, and the skipped one alone
        "kept_share@3": 0.5,
        "hr_difference@1": 1 / 3 - 1 / 2,
        "hr_difference@2": 1 / 3 - 1,
        "hr_difference@3": 0.0,
        "ndcg_difference@1": 1 / 3 - 1 / 2,
        "ndcg_difference@2": 1 / 3 - (1 / math.log2(3) + 1) / 2,
        "ndcg_difference@3": sum(1 / math.log2(1 + rank) for rank in ranks) / 3
        - (1 / math.log2(3) + 1) / 2,
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
    with_seen = examples.replace(exclude_seen=False)
    for found in (evaluate(model, examples), evaluate(model, with_seen, exclude_seen=True)):
        assert found[f"{prefix}mrr"] == found[f"{prefix}hr@20"] == 0.5
    for found in (evaluate(model, with_seen), evaluate(model, examples, exclude_seen=False)):
        assert found[f"{prefix}mrr"] == 1
    model.exclude_seen = False  # what counts where nobody says otherwise
    assert evaluate(model, examples)[f"{prefix}mrr"] == 1
    assert evaluate(model, examples.replace(exclude_seen=True))[f"{prefix}mrr"] == 0.5


def test_examples_with_a_skip_alone_count_for_skips_alone():
    model, examples = hand_worked()
    examples = Examples(examples.histories, np.array([1, 0, 3]), np.array([2, 3, 0]))
    metrics = keras_negrec.evaluate(model, examples, k=(2,))
    expected = {"hr@2": 1 / 2, "mrr": (1 + 1 / 2.5) / 2, "feedback_auc": 1, "num_examples": 2}
    expected |= {"skip_hr@2": 1 / 2, "skip_mrr": (1 / 2 + 1 / 3) / 2, "num_skip_examples": 2}
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    sampled = evaluate_sampled(model, examples, k=(2,))
    assert sampled["sampled_skip_mrr"] == metrics["skip_mrr"]
    assert sampled["sampled_mrr"] == metrics["mrr"]


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_coverage_against_a_loop(exclude_seen):
    random = np.random.default_rng(1)
    num_items, k = 30, (1, 3, 10, 28, 100)
    scores = random.permuted(np.tile(np.arange(num_items), (12, 1)), axis=1)
    histories = random.integers(1, 20, (12, 4)).tolist()
    examples = Examples(Sessions.from_lists(histories), random.integers(1, num_items, 12))
    covered = {cutoff: set() for cutoff in k}
    for row, seen in zip(scores, histories, strict=True):
        items = [item for item in range(1, num_items + 1) if not (exclude_seen and item in seen)]
        ranked = sorted(items, key=lambda item: -row[item - 1])
        for cutoff in k:
            covered[cutoff].update(ranked[:cutoff])
    options = {"exclude_seen": exclude_seen, "batch_size": 5}
    metrics = keras_negrec.evaluate(Table(scores), examples, k=k, **options)
    for cutoff in k:
        assert metrics[f"coverage@{cutoff}"] == len(covered[cutoff]) / num_items


@pytest.mark.parametrize("evaluate", [keras_negrec.evaluate, evaluate_sampled])
def test_no_examples(evaluate):
    model, examples = hand_worked()
    with pytest.raises(ValueError, match="`examples` must hold at least one example"):
        evaluate(model, examples.take(np.array([], int)))


def random_data(num_items=40, num_rows=23, seed=0):
    """Scores with ties, targets that may be seen, and rows with and without a skip."""
    random = np.random.default_rng(seed)
    sessions = Sessions.from_lists(random.integers(1, num_items + 1, (num_rows, 5)).tolist())
    targets = random.integers(1, num_items + 1, num_rows)
    skips = random.integers(1, num_items + 1, num_rows) * (random.random(num_rows) < 0.7)
    return Table(random.integers(0, 15, (num_rows, num_items))), Examples(sessions, targets, skips)


def reference_rank(scores, item, candidates, seen):
    if item in seen:
        return math.inf
    rank = 1.0
    for other in candidates:
        if other != item and other not in seen:
            rank += 1.0 * (scores[other - 1] > scores[item - 1])
            rank += 0.5 * (scores[other - 1] == scores[item - 1])
    return rank


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("batch_size", [5, 64])
def test_sampled_against_a_loop(batch_size, exclude_seen):
    model, examples = random_data()
    options = {"num_negatives": 12, "batch_size": batch_size, "exclude_seen": exclude_seen}
    metrics = evaluate_sampled(model, examples, k=(3, 8), seed=7, **options)
    random = np.random.default_rng(7)
    targets, skips = [], []
    for start in range(0, len(examples), batch_size):
        rows = range(start, min(start + batch_size, len(examples)))
        drawn = random.choice(40, 12, replace=False) + 1
        candidates = {*drawn.tolist(), *examples.targets[rows].tolist()}
        for row in rows:
            seen = set(examples.histories.take([row]).item_ids.tolist()) if exclude_seen else set()
            target, skip = int(examples.targets[row]), int(examples.skip_targets[row])
            targets.append(reference_rank(model.scores[row], target, candidates, seen))
            if skip:
                skips.append(reference_rank(model.scores[row], skip, candidates | {skip}, seen))
    for prefix, ranks in (("sampled_", targets), ("sampled_skip_", skips)):
        for cutoff in (3, 8):
            expected = sum(rank <= cutoff for rank in ranks) / len(ranks)
            assert metrics[f"{prefix}hr@{cutoff}"] == pytest.approx(expected)
        assert metrics[f"{prefix}mrr"] == pytest.approx(sum(1 / r for r in ranks) / len(ranks))
    assert metrics["sampled_num_skip_examples"] == len(skips) < len(targets)
    assert math.isinf(max(targets)) == exclude_seen


@pytest.mark.parametrize("num_negatives", [40, 1000])
def test_the_whole_catalogue_gives_the_full_metrics(num_negatives):
    model, examples = random_data()
    full = keras_negrec.evaluate(model, examples)
    sampled = evaluate_sampled(model, examples, num_negatives=num_negatives, batch_size=4)
    expected = {f"sampled_{name}": full[name] for name in full if "coverage" not in name}
    assert sampled == expected


@pytest.mark.parametrize(("name", "value"), [("num_negatives", 0), ("batch_size", 0), ("k", [0])])
def test_arguments_must_be_positive(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer. Received"):
        evaluate_sampled(*random_data(), **{name: value})
