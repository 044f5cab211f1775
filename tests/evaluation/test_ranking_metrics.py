import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_scorer import TableScorer

import keras_negrec
from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import example_metrics, rank_targets, ranking_metrics

SCORER = TableScorer(np.random.default_rng(3).normal(size=(20, 12)))


def random_examples():
    random = np.random.default_rng(0)
    sessions = Sessions.from_lists(random.integers(1, 13, (20, 3)).tolist())
    return Examples(sessions, random.integers(1, 13, 20), random.integers(0, 3, 20))


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_from_ranks_as_from_scores(exclude_seen):
    examples, k = random_examples(), (1, 4, 50)
    ranks = rank_targets(SCORER, examples, exclude_seen=exclude_seen, top_k=50)
    expected = keras_negrec.evaluate(SCORER, examples, k=k, exclude_seen=exclude_seen)
    assert ranking_metrics(ranks, k=k, num_items=12) == expected
    assert all(type(value) is float for value in expected.values())


def test_means_of_the_examples():
    ranks = rank_targets(SCORER, random_examples())
    metrics, values = ranking_metrics(ranks, k=(2,)), example_metrics(ranks, k=(2,))
    assert set(metrics) == {*values, "num_examples", "num_skip_examples"}
    for name, of_examples in values.items():
        rest = [value for value in of_examples if not math.isnan(value)]
        assert metrics[name] == pytest.approx(sum(rest) / len(rest))
    assert metrics["num_skip_examples"] == sum(~np.isnan(values["skip_mrr"])) < 20


def test_coverage_only_with_the_first_items_and_the_size_of_the_catalogue():
    examples = random_examples()
    with_items = rank_targets(SCORER, examples, top_k=5)
    without = rank_targets(SCORER, examples)
    assert "coverage@5" in ranking_metrics(with_items, k=(5,), num_items=12)
    assert "coverage@5" not in ranking_metrics(with_items, k=(5,))
    assert "coverage@5" not in ranking_metrics(without, k=(5,), num_items=12)


def test_too_few_first_items():
    ranks = rank_targets(SCORER, random_examples(), top_k=5)
    with pytest.raises(ValueError, match=r"beyond the 5 first items .* Received: k=\(2, 6\)"):
        ranking_metrics(ranks, k=(2, 6), num_items=12)


def test_no_examples_give_nan():
    empty = np.zeros(0)
    metrics = ranking_metrics({"target": empty, "skip_target": empty, "preference": empty}, k=(1,))
    assert metrics.pop("num_examples") == metrics.pop("num_skip_examples") == 0
    assert all(math.isnan(value) for value in metrics.values())


def reference(target, skip, preference, k):
    """The metrics of one example, by their definitions."""
    values = {"mrr": 1 / target, "feedback_auc": preference}
    values["skip_mrr"] = math.nan if math.isnan(skip) else 1 / skip
    for cutoff in k:
        hit = target <= cutoff
        values[f"hr@{cutoff}"] = 1.0 if hit else 0.0
        values[f"ndcg@{cutoff}"] = 1 / math.log2(1 + target) if hit else 0.0
        values[f"mrr@{cutoff}"] = values[f"map@{cutoff}"] = 1 / target if hit else 0.0
        values[f"skip_hr@{cutoff}"] = math.nan if math.isnan(skip) else float(skip <= cutoff)
    return values


RANKS = st.sampled_from([1.0, 1.5, 2.0, 3.0, 10.0, 10.5, 99.0, math.inf])


@given(
    st.lists(
        st.tuples(
            RANKS,
            st.none() | st.tuples(RANKS, st.sampled_from([0.0, 0.5, 1.0])),
        ),
        max_size=5,
    ),
    st.lists(st.integers(1, 20), max_size=3),
)
def test_examples_against_the_definitions(examples, k):
    rows = [(target, *(skip or (math.nan, math.nan))) for target, skip in examples]
    columns = np.array(rows).reshape(-1, 3).T
    ranks = dict(zip(("target", "skip_target", "preference"), columns, strict=True))
    values = example_metrics(ranks, k=k)
    assert set(values) == set(reference(1.0, 1.0, 1.0, k))
    for name, of_examples in values.items():
        assert of_examples.dtype == "float64" and of_examples.shape == (len(rows),)
        expected = [reference(*row, k)[name] for row in rows]
        np.testing.assert_allclose(of_examples, expected, rtol=1e-12)


def test_cut_offs_must_be_positive():
    with pytest.raises(ValueError, match=r"`k` must be a positive integer. Received: k=0"):
        example_metrics({}, k=(5, 0))
