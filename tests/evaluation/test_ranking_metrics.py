import math

import numpy as np
import pytest

import keras_negrec
from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import example_metrics, rank_targets, ranking_metrics


class Table:
    num_items = 12

    def score(self, histories):
        random = np.random.default_rng(3)
        return random.normal(size=(20, self.num_items))[histories.keys]


def random_examples():
    random = np.random.default_rng(0)
    sessions = Sessions.from_lists(random.integers(1, 13, (20, 3)).tolist())
    return Examples(sessions, random.integers(1, 13, 20), random.integers(0, 3, 20))


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_from_ranks_as_from_scores(exclude_seen):
    examples, k = random_examples(), (1, 4, 50)
    ranks = rank_targets(Table(), examples, exclude_seen=exclude_seen, top_k=50)
    expected = keras_negrec.evaluate(Table(), examples, k=k, exclude_seen=exclude_seen)
    assert ranking_metrics(ranks, k=k, num_items=12) == expected
    assert all(type(value) is float for value in expected.values())


def test_means_of_the_examples():
    ranks = rank_targets(Table(), random_examples())
    metrics, values = ranking_metrics(ranks, k=(2,)), example_metrics(ranks, k=(2,))
    assert set(metrics) == {*values, "num_examples", "num_skip_examples"}
    for name, of_examples in values.items():
        rest = [value for value in of_examples if not math.isnan(value)]
        assert metrics[name] == pytest.approx(sum(rest) / len(rest))
    assert metrics["num_skip_examples"] == sum(~np.isnan(values["skip_mrr"])) < 20


def test_coverage_only_with_the_first_items_and_the_size_of_the_catalogue():
    examples = random_examples()
    with_items = rank_targets(Table(), examples, top_k=5)
    without = rank_targets(Table(), examples)
    assert "coverage@5" in ranking_metrics(with_items, k=(5,), num_items=12)
    assert "coverage@5" not in ranking_metrics(with_items, k=(5,))
    assert "coverage@5" not in ranking_metrics(without, k=(5,), num_items=12)


def test_too_few_first_items():
    ranks = rank_targets(Table(), random_examples(), top_k=5)
    with pytest.raises(ValueError, match=r"beyond the 5 first items .* Received: k=\(2, 6\)"):
        ranking_metrics(ranks, k=(2, 6), num_items=12)


def test_no_examples_give_nan():
    empty = np.zeros(0)
    metrics = ranking_metrics({"target": empty, "skip_target": empty, "preference": empty}, k=(1,))
    assert metrics.pop("num_examples") == metrics.pop("num_skip_examples") == 0
    assert all(math.isnan(value) for value in metrics.values())
