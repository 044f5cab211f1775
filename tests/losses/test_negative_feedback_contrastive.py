import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from value_and_gradient import finite_differences, value_and_gradient

from keras_negrec.losses import NegativeFeedbackContrastive


def reference(labels, similarities, temperature=0.1, weights=None):
    """The definition, context by context: the mean over those that count."""
    width = np.shape(labels)[-1]
    labels, similarities = np.reshape(labels, (-1, width)), np.reshape(similarities, (-1, width))
    total = count = 0.0
    for context, (label, similarity) in enumerate(zip(labels, similarities, strict=True)):
        positives = [similarity[c] for c in range(width) if label[c] == 1]
        negatives = [similarity[c] for c in range(width) if label[c] == 0]
        if not positives or not negatives:
            continue
        [positive] = positives
        # Divided by exp(positive / temperature), so that small temperatures do not overflow.
        rest = sum(math.exp((n - positive) / temperature) for n in negatives)
        weight = 1.0 if weights is None else np.reshape(weights, -1)[context]
        total += weight * math.log(1 + rest)
        count += weight
    return total / count if count else 0.0


@st.composite
def batches(draw):
    """Labels with at most one positive a context, and similarities from -1 to 1."""
    shape = (2, 3, 5)  # one shape, because JAX compiles for each
    size = math.prod(shape)
    values = draw(st.sampled_from([[-1, 0], [-1, -1, 0], [-1], [0]]))
    labels = draw(st.lists(st.sampled_from(values), min_size=size, max_size=size))
    labels = np.array(labels, "int8").reshape(shape)
    for context in np.ndindex(shape[:2]):
        positive = draw(st.none() | st.integers(0, shape[-1] - 1))
        if positive is not None:
            labels[(*context, positive)] = 1
    seed = draw(st.integers(0, 1000))
    return labels, np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def fixed_batch():
    """Four contexts: two that count, one without a positive, one without a negative."""
    labels = np.array([[[1, 0, -1, 0], [-1, 0, 0, 1]], [[-1, 0, 0, -1], [1, -1, -1, -1]]], "int8")
    similarities = np.array(
        [
            [[0.3, 0.1, 0.99, -0.4], [0.9, 0.2, 0.25, 0.15]],
            [[0.5, 0.5, 0.5, 0.5], [0.1, 0.9, 0.9, 0.9]],
        ],
        "float32",
    )
    return labels, similarities


OF_FIXED_BATCH = [
    math.log(1 + math.exp(-2) + math.exp(-7)),
    math.log(1 + math.exp(0.5) + math.exp(1)),
]  # of the contexts that count, at a temperature of 0.1


@given(batches(), st.sampled_from([0.05, 0.1, 1.0]))
def test_against_the_definition(batch, temperature):
    labels, similarities = batch
    loss = float(NegativeFeedbackContrastive(temperature)(labels, similarities))
    assert loss == pytest.approx(reference(labels, similarities, temperature), rel=1e-4, abs=1e-5)


@given(batches())
def test_gradient(batch):
    labels, similarities = batch
    _, gradient = value_and_gradient(
        lambda x: NegativeFeedbackContrastive(0.5)(labels, x), similarities
    )
    expected = finite_differences(lambda x: reference(labels, x, 0.5), similarities)
    np.testing.assert_allclose(gradient, expected, atol=1e-4)


@pytest.mark.parametrize("reduction", ["mean_with_sample_weight", "sum", "sum_over_batch_size"])
def test_hand_worked(reduction):
    """Contexts that do not count do not dilute the mean, unless one asks for it."""
    labels, similarities = fixed_batch()
    count = {"sum": 1, "sum_over_batch_size": 4}.get(reduction, 2)
    loss = float(NegativeFeedbackContrastive(0.1, reduction=reduction)(labels, similarities))
    # The same number on every backend, so that the backends agree with each other.
    assert loss == pytest.approx(sum(OF_FIXED_BATCH) / count, abs=1e-5)
    assert reference(labels, similarities) == pytest.approx(sum(OF_FIXED_BATCH) / 2, abs=1e-6)
    each = NegativeFeedbackContrastive(0.1, reduction="none")(labels, similarities)
    expected = [OF_FIXED_BATCH, [0, 0]]
    np.testing.assert_allclose(ops.convert_to_numpy(each), expected, rtol=1e-4, atol=1e-6)


def test_what_is_no_candidate_does_not_count():
    labels, similarities = fixed_batch()
    before = float(NegativeFeedbackContrastive()(labels, similarities))
    similarities[labels == -1] = np.linspace(-1, 1, (labels == -1).sum())
    assert float(NegativeFeedbackContrastive()(labels, similarities)) == before


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_finite_in_half_precision(dtype):
    labels, similarities = fixed_batch()
    similarities[labels == 1], similarities[labels == 0] = -1, 1  # the largest loss there is
    value, gradient = value_and_gradient(
        lambda x: NegativeFeedbackContrastive(0.1)(labels, x), similarities, dtype
    )
    assert value == pytest.approx(reference(labels, similarities), rel=1e-2)
    assert np.isfinite(gradient).all()
    assert (gradient[labels == 1].min(), gradient[labels == 0].max()) < (0, 0)


def test_small_temperature_is_finite():
    labels, similarities = fixed_batch()
    value, gradient = value_and_gradient(
        lambda x: NegativeFeedbackContrastive(1e-3)(labels, x), similarities
    )
    assert value == pytest.approx(reference(labels, similarities, 1e-3), rel=1e-4)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("label", [-1, 0, 1])
def test_nothing_to_compare_is_0_with_zero_gradient(label):
    labels = np.full((2, 3, 4), -1, "int8")
    labels[..., 0] = label
    similarities = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4))
    value, gradient = value_and_gradient(
        lambda x: NegativeFeedbackContrastive()(labels, x), similarities
    )
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 3, 4)))


def test_polarity():
    near, far = np.array([[0.9, -0.9]]), np.array([[-0.9, 0.9]])
    kept_is_first = np.array([[1, 0]])
    loss = NegativeFeedbackContrastive()
    assert float(loss(kept_is_first, near)) < 1e-3
    assert float(loss(kept_is_first, far)) > 10
    assert float(loss(1 - kept_is_first, near)) > 10
    _, gradient = value_and_gradient(lambda x: loss(kept_is_first, x), far)
    assert gradient[0, 0] < 0 < gradient[0, 1]  # descent raises the kept, lowers the skipped


def test_sample_weight():
    labels, similarities = fixed_batch()
    weights = np.array([[3.0, 1.0], [5.0, 7.0]])
    found = float(NegativeFeedbackContrastive()(labels, similarities, sample_weight=weights))
    expected = reference(labels, similarities, weights=weights)
    assert found == pytest.approx(expected, rel=1e-5)
    rows = float(NegativeFeedbackContrastive()(labels, similarities, np.array([2.0, 5.0])))
    assert rows == pytest.approx(reference(labels, similarities), rel=1e-5)
    weights = np.array([[1.0, 0.0], [1.0, 1.0]])
    first = float(NegativeFeedbackContrastive()(labels, similarities, weights))
    assert first == pytest.approx(OF_FIXED_BATCH[0], rel=1e-4)


@pytest.mark.parametrize("temperature", [0, -0.1, None, "warm", True])
def test_temperature_must_be_above_0(temperature):
    with pytest.raises(ValueError, match=r"`temperature` must be above 0. Received"):
        NegativeFeedbackContrastive(temperature)
