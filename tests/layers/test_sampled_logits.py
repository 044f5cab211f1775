import keras
import numpy as np
import pytest
from keras import ops

from keras_negrec.layers import SampledLogits

NUM_ITEMS = 9
LOG_COUNT = np.log(np.linspace(0.2, 3, NUM_ITEMS + 1)).astype("float32")  # of each id
RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(NUM_ITEMS + 1, 4)).astype("float32")
PREDICTIONS = RANDOM.normal(size=(2, 3, 4)).astype("float32")
TARGETS = np.array([[3, 1, 0], [9, 3, 2]], "int32")
NEGATIVES = np.array([3, 5, 5, 9, 1, 7], "int32")
INPUTS = PREDICTIONS, TABLE[TARGETS], TARGETS, TABLE[NEGATIVES], NEGATIVES
CORRECTIONS = {
    "target_log_counts": LOG_COUNT[TARGETS],
    "negative_log_counts": LOG_COUNT[NEGATIVES],
}


def logits(*inputs, **options):
    return ops.convert_to_numpy(SampledLogits()(*inputs, **options))


@pytest.mark.parametrize("corrections", [{}, CORRECTIONS])
def test_against_reference(corrections):
    found = logits(*INPUTS, **corrections)
    assert np.isfinite(found).all()
    num_hits = 0
    for row, position in zip(*np.nonzero(TARGETS), strict=True):
        target = TARGETS[row, position]
        for column, item in enumerate([target, *NEGATIVES]):
            logit = found[row, position, column]
            if column and item == target:  # an accidental hit
                assert logit < -1e3
                num_hits += 1
            else:
                expected = PREDICTIONS[row, position] @ TABLE[item]
                expected -= LOG_COUNT[item] if corrections else 0
                assert logit == pytest.approx(expected, abs=1e-5)
    assert num_hits == 4


def test_all_items_once_is_the_full_softmax():
    items = np.arange(1, NUM_ITEMS + 1, dtype="int32")
    found = logits(PREDICTIONS, TABLE[TARGETS], TARGETS, TABLE[items], items)
    found = ops.convert_to_numpy(ops.log_softmax(found))[..., 0]
    full = ops.convert_to_numpy(ops.log_softmax(PREDICTIONS @ TABLE[1:].T))
    expected = np.take_along_axis(full, TARGETS[..., None] - 1, axis=-1)[..., 0]
    np.testing.assert_allclose(found[TARGETS > 0], expected[TARGETS > 0], rtol=1e-5)


def test_own_negatives():
    own_ids = np.array([[0, 3, 8], [2, 0, 0]], "int32")
    own_embeddings = np.random.default_rng(1).normal(size=(2, 3, 4)).astype("float32")
    found = logits(*INPUTS, **CORRECTIONS, own_embeddings=own_embeddings, own_ids=own_ids)
    assert found.shape == (2, 3, 1 + 6 + 3)
    np.testing.assert_allclose(found[..., :7], logits(*INPUTS, **CORRECTIONS), atol=1e-5)
    for row, position, column in np.ndindex(2, 3, 3):
        logit = found[row, position, 7 + column]
        if own_ids[row, column] in (0, TARGETS[row, position]):
            assert logit < -1e3
        else:
            # Not corrected: the row's own are there for certain.
            expected = PREDICTIONS[row, position] @ own_embeddings[row, column]
            assert logit == pytest.approx(expected, abs=1e-5)


def test_the_correction_is_made_in_float32():
    """In half precision, the log counts of rare items would swallow differences of logits."""
    rng = np.random.default_rng(0)
    vectors = (rng.integers(-8, 9, (1, 4, 8)) / 8).astype("float32")  # exact in bfloat16
    ids = np.array([[1, 2, 3, 4]])
    negatives = (rng.integers(-8, 9, (5, 8)) / 8).astype("float32")
    negative_counts = np.linspace(-11.4, -11.3, 5, dtype="float32")
    arguments = (vectors, vectors, ids, negatives, np.arange(5, 10))
    arguments += (np.full((1, 4), -11.37, "float32"), negative_counts)
    exact, half = logits(*arguments), SampledLogits(dtype="bfloat16")(*arguments)
    assert keras.backend.standardize_dtype(half.dtype) == "float32"
    half = ops.convert_to_numpy(half)
    np.testing.assert_allclose(half, exact, atol=0.02)
    differences = (np.diff(x[0, :, 1:] + negative_counts, axis=0) for x in (half, exact))
    np.testing.assert_allclose(*differences, atol=0.02)
