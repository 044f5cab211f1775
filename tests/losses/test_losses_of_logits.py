"""Losses of one class among others, each against its definition, row by row."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from value_and_gradient import finite_differences, value_and_gradient

from keras_negrec.losses import (
    BayesianPersonalizedRanking,
    GeneralizedBinaryCrossentropy,
    Identity,
    NotToRecommend,
)

FIRST = np.zeros((2, 3), "int32")
WEIGHTS = np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]], "float32")


def bpr_of_row(logits, _):
    target, *negatives = logits
    terms = [-math.log(1 / (1 + math.exp(negative - target))) for negative in negatives]
    return sum(terms) / len(terms)


def gbce_of_row(alpha, calibration):
    def of_row(logits, _):
        target, *negatives = logits
        beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
        terms = [math.log((1 / (1 + math.exp(-target))) ** beta)]
        terms += [math.log(1 - 1 / (1 + math.exp(-negative))) for negative in negatives]
        return -sum(terms) / len(terms)

    return of_row


def not_to_recommend_of_row(logits, skipped):
    exponentials = [math.exp(logit - max(logits)) for logit in logits]
    others = sum(e for j, e in enumerate(exponentials) if j != skipped)
    return -math.log(others / sum(exponentials))


# Loss, definition, and whether gradient descent raises the class or lowers it.
CASES = [
    pytest.param(BayesianPersonalizedRanking(), bpr_of_row, True, id="bpr"),
    *(
        pytest.param(
            GeneralizedBinaryCrossentropy(alpha, calibration),
            gbce_of_row(alpha, calibration),
            True,
            id=f"gbce {alpha} {calibration}",
        )
        for alpha, calibration in [(0.01, 0.75), (0.2, 0.5), (0.3, 0.0), (0.3, 1.0), (1.0, 0.75)]
    ),
    pytest.param(NotToRecommend(), not_to_recommend_of_row, False, id="not_to_recommend"),
]
every_loss = pytest.mark.parametrize(("loss", "of_row", "raises_class"), CASES)


def batch(seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 5, (2, 3)), random.normal(0, 3, (2, 3, 5)).astype("float32")


def reference(of_row, classes, logits, weights=None):
    weights = np.ones(6) if weights is None else np.ravel(weights).astype("float64")
    rows = zip(logits.reshape(6, -1).astype("float64").tolist(), np.ravel(classes), strict=True)
    losses = np.array([of_row(*row) for row in rows])
    return (weights * losses).sum() / weights.sum() if weights.sum() else 0.0


@every_loss
@given(seed=st.integers(0, 1000), weighted=st.booleans())
def test_against_the_definition(loss, of_row, raises_class, seed, weighted):
    classes, logits = batch(seed)
    weights = np.random.default_rng(seed).integers(0, 2, (2, 3)) if weighted else None
    expected = reference(of_row, classes, logits, weights)
    assert float(loss(classes, logits, weights)) == pytest.approx(expected, rel=1e-3, abs=1e-5)


@every_loss
@pytest.mark.parametrize("seed", range(3))
def test_gradient(loss, of_row, raises_class, seed):
    classes, logits = batch(seed)
    classes = FIRST if raises_class else classes
    _, gradient = value_and_gradient(lambda x: loss(classes, x, WEIGHTS), logits)
    expected = finite_differences(lambda x: reference(of_row, classes, x, WEIGHTS), logits)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
    np.testing.assert_array_equal(gradient[0, 1], 0)  # of weight 0
    of_class = gradient[0, 0, classes[0, 0]]
    others = np.delete(gradient[0, 0], classes[0, 0])
    if raises_class:
        assert of_class < 0 < others.min()
    else:
        assert others.max() < 0 < of_class


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("loss", "expected"),
    [  # 6e4, the distance of two logits, does not fit float16 when it is doubled
        (BayesianPersonalizedRanking(), (6e4 + math.log(2)) / 2 / 2),
        (GeneralizedBinaryCrossentropy(1.0), (6e4 / 3 + math.log(2) / 3) / 2),
        (NotToRecommend(), 3e4 / 2),
    ],
)
def test_finite_far_from_0(loss, expected, dtype):
    logits = np.array([[-3e4, 3e4, -3e4], [3e4, -3e4, 0.0]])
    value, gradient = value_and_gradient(lambda x: loss(np.zeros(2, "int32"), x), logits, dtype)
    assert value == pytest.approx(expected, rel=1e-2)
    assert np.isfinite(gradient).all()


def test_bpr_by_hand():
    logits = np.array([[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    expected = ((math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))) / 2 + math.log(2)) / 2
    loss = float(BayesianPersonalizedRanking()(np.zeros(2, "int32"), logits))
    assert loss == pytest.approx(expected, abs=1e-6)


def test_bpr_of_hits_with_a_very_low_logit_is_0_and_has_no_gradient():
    _, logits = batch()
    logits[..., 2] = -1e4
    value, gradient = value_and_gradient(lambda x: BayesianPersonalizedRanking()(FIRST, x), logits)
    others = np.delete(logits, 2, axis=-1)
    assert value == pytest.approx(reference(bpr_of_row, FIRST, others) * 3 / 4, rel=1e-5)
    np.testing.assert_array_equal(gradient[..., 2], 0)


def test_bpr_without_negatives():
    with pytest.raises(ValueError, match=r"at least one negative. Received: shape \(2, 1\)"):
        BayesianPersonalizedRanking()(np.zeros(2, "int32"), np.zeros((2, 1), "float32"))


def test_gbce_of_calibration_0_is_binary_crossentropy():
    _, logits = batch()
    labels = np.zeros(logits.shape)
    labels[..., 0] = 1
    expected = float(keras.losses.BinaryCrossentropy(from_logits=True)(labels, logits))
    found = float(GeneralizedBinaryCrossentropy(0.1, 0.0)(FIRST, logits))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("calibration", "sigmoid"), [(1.0, 0.2), (0.0, 0.2 / (0.2 + 0.8 * 0.1))])
def test_full_calibration_gives_back_the_probability_before_sampling(calibration, sigmoid):
    # One context whose target is the item of probability .2, its negatives drawn with rate .1:
    # the logit that minimizes the expected loss has sigmoid .2.
    loss = GeneralizedBinaryCrossentropy(0.1, calibration, reduction="none")
    grid, far = np.linspace(-6, 4, 201), np.full(201, 1e4)
    as_target = keras.ops.convert_to_numpy(loss(np.zeros(201), np.stack([grid, -far], -1)))
    as_negative = keras.ops.convert_to_numpy(loss(np.zeros(201), np.stack([far, grid], -1)))
    best = grid[np.argmin(0.2 * as_target + 0.8 * 0.1 * as_negative)]
    assert 1 / (1 + math.exp(-best)) == pytest.approx(sigmoid, abs=0.02)


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
def test_bad_arguments_of_gbce(arguments, message):
    with pytest.raises(ValueError, match=message):
        GeneralizedBinaryCrossentropy(*arguments)


def test_not_to_recommend_by_hand():
    # p = 1/4 and p = 3/4.
    logits = np.log(np.array([[1.0, 2.0, 1.0], [6.0, 1.0, 1.0]]))
    loss = float(NotToRecommend()(np.array([2, 0]), logits))
    assert loss == pytest.approx((math.log(4 / 3) + math.log(4)) / 2, abs=1e-6)


def test_not_to_recommend_is_exact_where_the_probability_is_almost_1():
    # 1 - p is about 2e-13, which 1 - softmax would round to 0.
    value, gradient = value_and_gradient(
        lambda x: NotToRecommend()(np.array([0]), x), np.array([[30.0, 0.0, 0.0]])
    )
    assert value == pytest.approx(30 - math.log(2), rel=1e-5)
    np.testing.assert_allclose(gradient, [[1, -0.5, -0.5]], atol=1e-5)


def test_not_to_recommend_takes_labels_with_a_last_axis_of_1():
    skipped, logits = batch()
    expected = float(NotToRecommend()(skipped, logits))
    assert float(NotToRecommend()(skipped[..., None], logits)) == pytest.approx(expected)


def test_identity_is_the_mean_over_what_counts():
    losses = np.array([[0.5, 2.0, 4.0], [1.0, 3.0, 0.0]], "float32")
    weight = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], "float32")
    assert float(Identity()(losses * 0, losses, weight)) == pytest.approx((0.5 + 4 + 3) / 3)
    assert float(Identity()(losses * 0, losses)) == pytest.approx(losses.mean())
    assert float(Identity()(losses * 0, losses, weight * 0)) == 0
