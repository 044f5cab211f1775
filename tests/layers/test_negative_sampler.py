import numpy as np
import pytest
from keras import ops
from run_layer_test import run_layer_test

from keras_negrec.layers import NegativeSampler


def draw(seed=0, num_items=7, num_negatives=20_000, distribution="uniform"):
    sampler = NegativeSampler(num_items, num_negatives, distribution, seed=seed)
    return ops.convert_to_numpy(sampler(np.zeros((2, 3), "int32")))


@pytest.mark.parametrize("distribution", ["uniform", "log_uniform"])
def test_layer(distribution):
    run_layer_test(
        NegativeSampler,
        {"num_items": 9, "num_negatives": 5, "distribution": distribution, "seed": 3},
        (np.zeros((2, 3), "int32"),),
        expected_output_shape=(5,),
        expected_output_dtype="int32",
        expected_num_trainable_weights=0,
        is_random=True,
    )


@pytest.mark.parametrize("distribution", ["uniform", "log_uniform"])
def test_draws_follow_the_distribution(distribution):
    ids = draw(distribution=distribution)
    assert ids.min() == 1
    assert ids.max() == 7
    i = np.arange(1, 8)
    expected = {
        "uniform": np.full(7, 1 / 7),
        "log_uniform": np.log((i + 1) / i) / np.log(8),
    }[distribution]
    share = np.bincount(ids, minlength=8)[1:] / len(ids)
    np.testing.assert_allclose(share, expected, atol=0.015)  # 4 standard deviations


def test_one_item():
    assert set(draw(num_items=1, num_negatives=50, distribution="log_uniform")) == {1}


def test_seed():
    np.testing.assert_array_equal(draw(seed=1), draw(seed=1))
    assert (draw(seed=1) != draw(seed=2)).any()


def test_each_call_draws_anew():
    sampler = NegativeSampler(1000, 50, seed=0)
    first, second = (ops.convert_to_numpy(sampler(np.zeros((1, 1)))) for _ in range(2))
    assert (first != second).any()


def test_unknown_distribution():
    with pytest.raises(ValueError, match="`distribution` must be one of 'uniform', 'log_uniform'"):
        NegativeSampler(5, 2, "zipf")
