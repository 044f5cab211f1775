import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from value_and_gradient import finite_differences, value_and_gradient

from keras_negrec.losses import BayesianPersonalizedRanking


def reference(logits, weights=None):
    """The definition, pair by pair."""
    logits = np.reshape(logits, (-1, np.shape(logits)[-1])).astype("float64")
    weights = np.ones(len(logits)) if weights is None else np.reshape(weights, -1).tolist()
    total = 0.0
    for (target, *negatives), weight in zip(logits, weights, strict=True):
        terms = [-math.log(1 / (1 + math.exp(negative - target))) for negative in negatives]
        total += weight * sum(terms) / len(terms)
    return total / sum(weights)


def random_logits(seed=0, shape=(2, 3, 5)):
    return np.random.default_rng(seed).normal(0, 3, shape).astype("float32")


CLASSES = np.zeros((2, 3), "int32")


@given(st.integers(0, 1000), st.booleans())
def test_against_the_definition(seed, weighted):
    logits = random_logits(seed)
    weights = None
    if weighted:
        weights = np.random.default_rng(seed).integers(0, 3, (2, 3)).astype("float32")
        weights[0, 0] = 1
    loss = float(BayesianPersonalizedRanking()(CLASSES, logits, sample_weight=weights))
    assert loss == pytest.approx(reference(logits, weights), rel=1e-4)


def test_hand_worked():
    logits = np.array([[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    expected = ((math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))) / 2 + math.log(2)) / 2
    loss = float(BayesianPersonalizedRanking()(np.zeros(2, "int32"), logits))
    assert loss == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_gradient(seed):
    logits = random_logits(seed)
    weights = np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]], "float32")
    _, gradient = value_and_gradient(
        lambda x: BayesianPersonalizedRanking()(CLASSES, x, weights), logits
    )
    expected = finite_differences(lambda x: reference(x, weights), logits)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
    assert gradient[0, 0, 0] < 0  # descent raises the target
    assert gradient[0, 0, 1:].min() > 0  # and lowers the negatives


def test_positions_without_weight_do_not_dilute_the_mean():
    logits, weights = random_logits(), np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    found = float(BayesianPersonalizedRanking()(CLASSES, logits, weights))
    assert found == pytest.approx(reference(logits[0, :2]), rel=1e-5)


def test_class_values_are_not_used():
    logits = random_logits()
    loss = BayesianPersonalizedRanking()
    assert float(loss(CLASSES + 3, logits)) == float(loss(CLASSES, logits))


def test_hits_with_a_very_low_logit_have_no_loss_and_no_gradient():
    logits = random_logits()
    logits[..., 2] = -1e4
    value, gradient = value_and_gradient(
        lambda x: BayesianPersonalizedRanking()(CLASSES, x), logits
    )
    others = np.delete(logits, 2, axis=-1)
    assert value == pytest.approx(reference(others) * 3 / 4, rel=1e-5)
    np.testing.assert_array_equal(gradient[..., 2], 0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_finite_far_from_0(dtype):
    logits = np.array([[-3e4, 3e4, -3e4], [3e4, -3e4, 0.0]])
    value, gradient = value_and_gradient(
        lambda x: BayesianPersonalizedRanking()(np.zeros(2, "int32"), x), logits, dtype
    )
    expected = ((6e4 + math.log(2)) / 2 + 0) / 2  # 6e4 - (-6e4) would not fit float16
    assert value == pytest.approx(expected, rel=1e-2)
    assert np.isfinite(gradient).all()


def test_without_negatives():
    with pytest.raises(ValueError, match=r"at least one negative. Received: shape \(2, 1\)"):
        BayesianPersonalizedRanking()(np.zeros(2, "int32"), np.zeros((2, 1), "float32"))
