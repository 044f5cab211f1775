import numpy as np
import pytest
from keras import ops

from keras_negrec.layers import NegativeSampler

DISTRIBUTIONS = ["uniform", "log_uniform", "in_batch", "mixed"]
TARGETS = np.array([[2, 2, 0], [7, 0, 2]], "int32")


def draw(seed=0, num_items=7, num_negatives=20_000, distribution="uniform"):
    sampler = NegativeSampler(num_items, num_negatives, distribution, seed=seed)
    return ops.convert_to_numpy(sampler(TARGETS)[0])


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_draws_follow_the_distribution(distribution):
    ids = draw(distribution=distribution)
    assert ids.min() >= 1
    assert ids.max() == 7
    i = np.arange(1, 8)
    expected = {
        "uniform": np.full(7, 1 / 7),
        "log_uniform": np.log((i + 1) / i) / np.log(8),
        "in_batch": np.array([0, 3, 0, 0, 0, 0, 1]) / 4,  # padding is no target
        "mixed": np.array([0, 3, 0, 0, 0, 0, 1]) / 8 + 1 / 14,
    }[distribution]
    share = np.bincount(ids, minlength=8)[1:] / len(ids)
    np.testing.assert_allclose(share, expected, atol=0.015)  # 4 standard deviations


def test_one_item():
    assert set(draw(num_items=1, num_negatives=50, distribution="log_uniform")) == {1}


def test_a_seed_repeats_the_draws_and_each_call_draws_anew():
    np.testing.assert_array_equal(draw(seed=1), draw(seed=1))
    assert (draw(seed=1) != draw(seed=2)).any()
    sampler = NegativeSampler(1000, 50, seed=0)
    first, second = (ops.convert_to_numpy(sampler(TARGETS)[0]) for _ in range(2))
    assert (first != second).any()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_log_counts_are_those_of_the_draws(distribution):
    # Batches whose targets are drawn by the frequencies that the sampler is told.
    random = np.random.default_rng(0)
    counts = np.array([40, 25, 15, 10, 5, 5])
    sampler = NegativeSampler(6, 300, distribution, seed=0)
    sampler.adapt(counts)
    drawn = np.zeros(7)
    for _ in range(200):
        targets = random.choice(6, size=(20, 10), p=counts / 100) + 1
        negative_ids, target_logs, negative_logs = sampler(targets.astype("int32"))
        drawn += np.bincount(ops.convert_to_numpy(negative_ids), minlength=7)
    every = np.arange(1, 7, dtype="int32")
    _, expected, _ = sampler(every[None])
    np.testing.assert_allclose(
        np.exp(ops.convert_to_numpy(expected))[0], drawn[1:] / 200, rtol=0.12
    )
    # Both outputs look up the same figures.
    expected = dict(zip(every.tolist(), ops.convert_to_numpy(expected)[0].tolist(), strict=True))
    for ids, logs in ((targets, target_logs), (ops.convert_to_numpy(negative_ids), negative_logs)):
        found = ops.convert_to_numpy(logs)
        np.testing.assert_allclose(found, np.vectorize(expected.get)(ids), rtol=1e-5)


def test_in_batch_without_any_target():
    ids, *logs = NegativeSampler(5, 4, "in_batch")(np.zeros((2, 3), "int32"))
    assert ops.convert_to_numpy(ids).min() >= 1
    assert all(np.isfinite(ops.convert_to_numpy(each)).all() for each in logs)


def test_an_item_that_never_occurred_has_a_finite_log_count():
    sampler = NegativeSampler(3, 4, "in_batch")
    sampler.adapt([8, 0, 2])
    _, logs, _ = sampler(np.array([1, 2, 3], "int32"))
    np.testing.assert_allclose(
        ops.convert_to_numpy(logs), np.log([4 * 0.8, 4 * 0.1, 4 * 0.2]), rtol=1e-5
    )


@pytest.mark.parametrize("counts", [[1, 2], [1, 2, -1], [[1, 2, 3]]])
def test_bad_counts(counts):
    with pytest.raises(ValueError, match="`item_counts` must be 3 counts of at least 0"):
        NegativeSampler(3, 4, "in_batch").adapt(counts)
