import math

import numpy as np
import pytest
from table_scorer import TableScorer as Table

import keras_negrec
from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import evaluate_sampled


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
def test_against_a_loop(batch_size, exclude_seen):
    model, examples = random_data()
    metrics = evaluate_sampled(
        model,
        examples,
        num_negatives=12,
        batch_size=batch_size,
        k=(3, 8),
        exclude_seen=exclude_seen,
        seed=7,
    )
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
    for cutoff in (3, 8):
        expected = sum(rank <= cutoff for rank in targets) / len(targets)
        assert metrics[f"sampled_hr@{cutoff}"] == pytest.approx(expected)
        expected = sum(rank <= cutoff for rank in skips) / len(skips)
        assert metrics[f"sampled_skip_hr@{cutoff}"] == pytest.approx(expected)
    assert metrics["sampled_mrr"] == pytest.approx(sum(1 / rank for rank in targets) / len(targets))
    assert metrics["sampled_skip_mrr"] == pytest.approx(
        sum(1 / rank for rank in skips) / len(skips)
    )
    assert metrics["sampled_num_skip_examples"] == len(skips) < len(targets)
    assert math.isinf(max(targets)) == exclude_seen


@pytest.mark.parametrize("num_negatives", [40, 1000])
def test_the_whole_catalogue_gives_the_full_metrics(num_negatives):
    model, examples = random_data()
    full = keras_negrec.evaluate(model, examples)
    sampled = evaluate_sampled(model, examples, num_negatives=num_negatives, batch_size=4)
    assert sampled == {
        f"sampled_{name}": value for name, value in full.items() if "coverage" not in name
    }


def test_fewer_candidates_flatter():
    model, examples = random_data(400, 100)
    full = keras_negrec.evaluate(model, examples)["mrr"]
    sampled = evaluate_sampled(model, examples, num_negatives=20, batch_size=10)["sampled_mrr"]
    assert sampled > 2 * full


def test_seeded():
    model, examples = random_data()
    first, again, other = (
        evaluate_sampled(model, examples, num_negatives=5, batch_size=4, seed=seed)
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_each_batch_draws_anew():
    """Two batches alike but for the draw: the ranks of the one target differ at times."""
    scores = np.tile(np.arange(50.0), (60, 1))
    examples = Examples(Sessions.from_lists([[1]] * 60), np.full(60, 25), np.zeros(60, int))
    metrics = evaluate_sampled(Table(scores), examples, num_negatives=2, batch_size=1, k=(1, 2))
    assert 0 < metrics["sampled_hr@1"] < metrics["sampled_hr@2"] < 1


@pytest.mark.parametrize("name", ["num_negatives", "batch_size", "k"])
def test_arguments_must_be_positive(name):
    value = (0,) if name == "k" else 0
    with pytest.raises(
        ValueError, match=f"`{name}` must be a positive integer. Received: {name}=0"
    ):
        evaluate_sampled(*random_data(), **{name: value})


def test_no_examples():
    model, examples = random_data()
    with pytest.raises(ValueError, match="`examples` must hold at least one example"):
        evaluate_sampled(model, examples.take(np.array([], int)))
