import math

import numpy as np
import pytest
from keras import ops
from value_and_gradient import finite_differences, value_and_gradient

from keras_negrec.backend import linear_crossentropy as module
from keras_negrec.backend.linear_crossentropy import linear_crossentropy

RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.normal(size=(9, 4)).astype("float32")
TABLE = RANDOM.normal(size=(6, 4)).astype("float32")
CLASSES = np.array([3, -1, 0, 5, 5, -1, -1, 2, 1], "int32")
WEIGHTS = [RANDOM.random(9), np.full(9, 0.3)]


@pytest.fixture(params=[1, 2, 4, 100], ids="{} rows in a chunk".format)
def chunk_rows(request, monkeypatch):
    """Chunks of one row, not dividing the rows, larger than all."""
    monkeypatch.setattr(module, "_chunk_logits", lambda: 6 * request.param)
    monkeypatch.setattr(module, "_MIN_CHUNK_ROWS", 1)


def reference(vectors, table, classes, bias=0.0):
    """Written from the definition."""
    losses = []
    for vector, row_class in zip(vectors, classes, strict=True):
        logits = table.astype("float64") @ vector + bias
        top = max(logits)
        total = top + math.log(sum(math.exp(logit - top) for logit in logits))
        losses.append(0.0 if row_class < 0 else total - logits[row_class])
    return np.array(losses)


@pytest.mark.parametrize("bias", [None, np.array([0, 1.5, 0, -1e4, 0, 0], "float32")])
def test_against_reference(chunk_rows, bias):
    found = ops.convert_to_numpy(linear_crossentropy(VECTORS, TABLE, CLASSES, bias))
    assert found.dtype == "float32"
    expected = reference(VECTORS, TABLE, CLASSES, 0.0 if bias is None else bias)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weights", WEIGHTS, ids=["weighted", "alike"])
@pytest.mark.parametrize("classes", [CLASSES, np.maximum(CLASSES, 0)], ids=["some", "all"])
def test_gradients_by_finite_differences(chunk_rows, classes, weights):
    """Also of a last chunk that has fewer rows than the others, where all rows have a class."""

    def loss(vectors, table):
        losses = linear_crossentropy(*map(ops.convert_to_tensor, (vectors, table)), classes)
        return ops.sum(losses * ops.convert_to_tensor(weights, "float32"))

    def expected_loss(vectors, table):
        return (reference(vectors, table, classes) * weights).sum()

    _, of_vectors = value_and_gradient(lambda x: loss(x, TABLE), VECTORS)
    expected = finite_differences(lambda x: expected_loss(x, TABLE), VECTORS)
    np.testing.assert_allclose(of_vectors, expected, atol=1e-4)
    assert (of_vectors[classes < 0] == 0).all()
    _, of_table = value_and_gradient(lambda x: loss(VECTORS, x), TABLE)
    expected = finite_differences(lambda x: expected_loss(VECTORS, x), TABLE)
    np.testing.assert_allclose(of_table, expected, atol=1e-4)


@pytest.mark.parametrize("classes", [np.full(9, -1, "int32"), np.zeros(0, "int32")])
def test_nothing_to_predict(classes):
    vectors = ops.convert_to_tensor(VECTORS[: len(classes)])
    value, gradient = value_and_gradient(
        lambda x: ops.sum(linear_crossentropy(vectors, x, ops.convert_to_tensor(classes))), TABLE
    )
    assert value == 0
    assert (gradient == 0).all()


def test_large_logits_stay_finite(chunk_rows):
    value, gradient = value_and_gradient(
        lambda x: ops.sum(linear_crossentropy(x, ops.convert_to_tensor(TABLE), CLASSES)),
        VECTORS * 1e4,
    )
    assert value == pytest.approx(reference(VECTORS * 1e4, TABLE, CLASSES).sum(), rel=1e-4)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_sums_in_float32(dtype, chunk_rows):
    """Half precision holds no sum of 1,000 ones to better than a few."""
    vectors, table = ops.zeros((1, 4), dtype), ops.zeros((1000, 4), dtype)
    [found] = ops.convert_to_numpy(linear_crossentropy(vectors, table, np.array([7])))
    assert found == pytest.approx(math.log(1000), abs=1e-4)
