import keras
import numpy as np
import pytest
from keras import ops
from run_layer_test import run_layer_test

from keras_negrec.layers import SampledLogits

NUM_ITEMS = 9


def sample(num_negatives=6):
    random = np.random.default_rng(0)
    table = random.normal(size=(NUM_ITEMS + 1, 4)).astype("float32")
    target_ids = np.array([[3, 1, 0], [9, 3, 2]], "int32")
    negative_ids = np.array([3, 5, 5, 9, 1, 7], "int32")[:num_negatives]
    predictions = random.normal(size=(2, 3, 4)).astype("float32")
    return predictions, table[target_ids], target_ids, table[negative_ids], negative_ids


LOG_COUNT = np.log(np.linspace(0.2, 3, NUM_ITEMS + 1)).astype("float32")  # of each id


def corrections(inputs):
    return {"target_log_counts": LOG_COUNT[inputs[2]], "negative_log_counts": LOG_COUNT[inputs[4]]}


def reference(inputs, corrected):
    predictions, target_embeddings, target_ids, negative_embeddings, negative_ids = inputs

    def log_expected_count(item):
        return LOG_COUNT[item] if corrected else 0.0

    logits = np.zeros((2, 3, 1 + len(negative_ids)))
    for row in range(2):
        for position in range(3):
            prediction, target = predictions[row, position], target_ids[row, position]
            if target == 0:
                continue
            logits[row, position, 0] = prediction @ target_embeddings[
                row, position
            ] - log_expected_count(target)
            for n, negative in enumerate(negative_ids):
                logits[row, position, 1 + n] = (
                    -np.inf
                    if negative == target
                    else prediction @ negative_embeddings[n] - log_expected_count(negative)
                )
    return logits


def test_layer():
    run_layer_test(
        SampledLogits,
        {},
        sample(),
        expected_output_shape=(2, 3, 7),
        expected_num_trainable_weights=0,
    )


@pytest.mark.parametrize("corrected", [False, True])
def test_against_reference(corrected):
    inputs = sample()
    options = corrections(inputs) if corrected else {}
    found = ops.convert_to_numpy(SampledLogits()(*inputs, **options))
    expected = reference(inputs, corrected)
    counts = inputs[2] > 0
    removed = np.isneginf(expected)
    assert removed.sum() == 4  # (3 of 2, 1 and 9): accidental hits
    assert (found[removed] < -1e3).all()
    kept = counts[..., None] & ~removed
    np.testing.assert_allclose(found[kept], expected[kept], rtol=1e-5, atol=1e-5)
    assert np.isfinite(found).all()


def test_all_items_once_is_the_full_softmax():
    random = np.random.default_rng(0)
    table = random.normal(size=(NUM_ITEMS, 4)).astype("float32")
    predictions = random.normal(size=(1, 2, 4)).astype("float32")
    target_ids, negative_ids = np.array([[2, 7]], "int32"), np.arange(1, NUM_ITEMS + 1)
    logits = SampledLogits()(
        predictions, table[target_ids - 1], target_ids, table, negative_ids.astype("int32")
    )
    found = ops.convert_to_numpy(ops.log_softmax(logits))[..., 0]
    full = ops.convert_to_numpy(ops.log_softmax(ops.convert_to_tensor(predictions @ table.T)))
    np.testing.assert_allclose(found, [[full[0, 0, 1], full[0, 1, 6]]], rtol=1e-5)


def test_own_negatives():
    inputs = sample()
    predictions, target_ids = inputs[0], inputs[2]
    own_ids = np.array([[0, 3, 8], [2, 0, 0]], "int32")
    own_embeddings = np.random.default_rng(1).normal(size=(2, 3, 4)).astype("float32")
    found = ops.convert_to_numpy(
        SampledLogits()(
            *inputs, **corrections(inputs), own_embeddings=own_embeddings, own_ids=own_ids
        )
    )
    assert found.shape == (2, 3, 1 + 6 + 3)
    alone = SampledLogits()(*inputs, **corrections(inputs))
    np.testing.assert_allclose(found[..., :7], ops.convert_to_numpy(alone), atol=1e-5)
    for row in range(2):
        for position in range(3):
            for column, own in enumerate(own_ids[row]):
                logit = found[row, position, 7 + column]
                if own == 0 or own == target_ids[row, position]:
                    assert logit < -1e3
                else:
                    # Not corrected: the row's own are there for certain.
                    expected = predictions[row, position] @ own_embeddings[row, column]
                    assert logit == pytest.approx(expected, abs=1e-5)


def test_the_correction_is_made_in_float32():
    """In half precision, the log counts of rare items would swallow differences of logits."""
    rng = np.random.default_rng(0)
    vectors = (rng.integers(-8, 9, (1, 4, 8)) / 8).astype("float32")  # exact in bfloat16
    ids = np.array([[1, 2, 3, 4]])
    negatives = (rng.integers(-8, 9, (5, 8)) / 8).astype("float32")
    counts = {
        "target_log_counts": np.full((1, 4), -11.37, "float32"),
        "negative_log_counts": np.linspace(-11.4, -11.3, 5, dtype="float32"),
    }
    arguments = (vectors, vectors, ids, negatives, np.arange(5, 10))
    exact = ops.convert_to_numpy(SampledLogits()(*arguments, **counts))
    half = SampledLogits(dtype="bfloat16")(*arguments, **counts)
    assert keras.backend.standardize_dtype(half.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(half), exact, atol=0.02)
    np.testing.assert_allclose(
        np.diff(ops.convert_to_numpy(half)[0, :, 1:] + counts["negative_log_counts"], axis=0),
        np.diff(exact[0, :, 1:] + counts["negative_log_counts"], axis=0),
        atol=0.02,
    )
