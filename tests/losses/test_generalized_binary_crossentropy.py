import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from value_and_gradient import finite_differences, value_and_gradient

from keras_negrec.losses import GeneralizedBinaryCrossentropy

CLASSES = np.zeros((2, 3), "int32")


def reference(logits, alpha, calibration, weights=None):
    """The definition, class by class."""
    logits = np.reshape(logits, (-1, np.shape(logits)[-1])).astype("float64")
    weights = np.ones(len(logits)) if weights is None else np.reshape(weights, -1).astype("float64")
    total = 0.0
    for (target, *negatives), weight in zip(logits.tolist(), weights, strict=True):
        beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
        terms = [math.log((1 / (1 + math.exp(-target))) ** beta)]
        terms += [math.log(1 - 1 / (1 + math.exp(-negative))) for negative in negatives]
        total -= weight * sum(terms) / len(terms)
    return total / weights.sum()


def random_logits(seed=0):
    return np.random.default_rng(seed).normal(0, 3, (2, 3, 5)).astype("float32")


@given(st.integers(0, 1000), st.sampled_from([0.01, 0.3, 1.0]), st.sampled_from([0.0, 0.75, 1.0]))
def test_against_the_definition(seed, alpha, calibration):
    logits = random_logits(seed)
    loss = float(GeneralizedBinaryCrossentropy(alpha, calibration)(CLASSES, logits))
    assert loss == pytest.approx(reference(logits, alpha, calibration), rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_gradient(seed):
    logits = random_logits(seed)
    weights = np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]], "float32")
    loss = GeneralizedBinaryCrossentropy(0.2, 0.5)
    _, gradient = value_and_gradient(lambda x: loss(CLASSES, x, weights), logits)
    expected = finite_differences(lambda x: reference(x, 0.2, 0.5, weights), logits)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
    assert gradient[0, 0, 0] < 0 < gradient[0, 0, 1:].min()


def test_calibration_0_is_binary_crossentropy():
    logits = random_logits()
    labels = np.zeros(logits.shape)
    labels[..., 0] = 1
    expected = float(keras.losses.BinaryCrossentropy(from_logits=True)(labels, logits))
    found = float(GeneralizedBinaryCrossentropy(0.1, 0.0)(CLASSES, logits))
    assert found == pytest.approx(expected, rel=1e-5)


def test_full_calibration_gives_back_the_probability_before_sampling():
    # One context whose target is the item of probability .2, its negatives drawn with rate .1:
    # the logit that minimizes the expected loss has sigmoid .2.
    alpha, probability = 0.1, 0.2
    grid = np.linspace(-6, 4, 2001)

    def expected_loss(logit, calibration):
        loss = GeneralizedBinaryCrossentropy(alpha, calibration, reduction="sum")
        as_target = float(loss(np.zeros(1), np.array([[logit, -1e4]])))
        as_negative = float(loss(np.zeros(1), np.array([[1e4, logit]])))
        return probability * as_target + (1 - probability) * alpha * as_negative

    for calibration, sigmoid in ((1.0, 0.2), (0.0, 0.2 / (0.2 + 0.8 * 0.1))):
        coarse = grid[np.argmin([expected_loss(x, calibration) for x in grid[::10]]) * 10]
        assert 1 / (1 + math.exp(-coarse)) == pytest.approx(sigmoid, abs=0.02)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_finite_far_from_0(dtype):
    logits = np.array([[-3e4, 3e4, -3e4]])
    value, gradient = value_and_gradient(
        lambda x: GeneralizedBinaryCrossentropy(1.0)(np.zeros(1), x), logits, dtype
    )
    assert value == pytest.approx(6e4 / 3, rel=1e-2)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "`sampling_rate` must be above 0"),
        ((1.5,), "`sampling_rate` must be at most 1. Received: sampling_rate=1.5"),
        ((0.5, -0.1), "`calibration` must be from 0 to 1. Received: calibration=-0.1"),
        ((0.5, 1.1), "`calibration` must be from 0 to 1"),
        ((0.5, True), "`calibration` must be from 0 to 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        GeneralizedBinaryCrossentropy(*arguments)
