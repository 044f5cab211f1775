import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from value_and_gradient import finite_differences, value_and_gradient

from keras_negrec.losses import NotToRecommend


def reference(skipped, logits, weights=None):
    """The definition, position by position: -log of the other classes' share."""
    logits = np.reshape(logits, (-1, np.shape(logits)[-1])).astype("float64")
    weights = np.ones(len(logits)) if weights is None else np.reshape(weights, -1).astype("float64")
    total = 0.0
    for row, skip, weight in zip(logits, np.reshape(skipped, -1), weights, strict=True):
        exponentials = [math.exp(logit - row.max()) for logit in row]
        others = sum(e for j, e in enumerate(exponentials) if j != skip)
        total -= weight * math.log(others / sum(exponentials))
    return total / weights.sum() if weights.sum() else 0.0


def batch(seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 5, (2, 3)), random.normal(0, 3, (2, 3, 5)).astype("float32")


@given(st.integers(0, 1000), st.booleans())
def test_against_the_definition(seed, weighted):
    skipped, logits = batch(seed)
    weights = None
    if weighted:
        weights = np.random.default_rng(seed).integers(0, 2, (2, 3)).astype("float32")
    loss = float(NotToRecommend()(skipped, logits, sample_weight=weights))
    assert loss == pytest.approx(reference(skipped, logits, weights), rel=1e-3, abs=1e-5)


def test_hand_worked():
    # p = 1/4 and p = 3/4.
    logits = np.log(np.array([[1.0, 2.0, 1.0], [6.0, 1.0, 1.0]]))
    loss = float(NotToRecommend()(np.array([2, 0]), logits))
    assert loss == pytest.approx((math.log(4 / 3) + math.log(4)) / 2, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_gradient(seed):
    skipped, logits = batch(seed)
    weights = np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]], "float32")
    _, gradient = value_and_gradient(lambda x: NotToRecommend()(skipped, x, weights), logits)
    expected = finite_differences(lambda x: reference(skipped, x, weights), logits)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
    assert gradient[0, 0, skipped[0, 0]] > 0  # descent lowers what was skipped
    np.testing.assert_array_equal(gradient[0, 1], 0)  # weight 0


def test_exact_where_the_probability_is_almost_1():
    # 1 - p is about 2e-13, which 1 - softmax would round to 0.
    value, gradient = value_and_gradient(
        lambda x: NotToRecommend()(np.array([0]), x), np.array([[30.0, 0.0, 0.0]])
    )
    assert value == pytest.approx(30 - math.log(2), rel=1e-5)
    np.testing.assert_allclose(gradient, [[1, -0.5, -0.5]], atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_finite_in_half_precision(dtype):
    logits = np.array([[-3e4, 3e4, -3e4], [3e4, -3e4, 0.0]])
    value, gradient = value_and_gradient(
        lambda x: NotToRecommend()(np.array([0, 0]), x), logits, dtype
    )
    assert value == pytest.approx(3e4 / 2, rel=1e-2)
    assert np.isfinite(gradient).all()


def test_labels_may_have_a_last_axis_of_1():
    skipped, logits = batch()
    assert float(NotToRecommend()(skipped[..., None], logits)) == pytest.approx(
        float(NotToRecommend()(skipped, logits))
    )
