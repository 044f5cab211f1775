import numpy as np
import pytest
from keras import ops
from run_layer_test import run_layer_test
from value_and_gradient import value_and_gradient

from keras_negrec.layers import FeedbackSimilarity


def test_layer():
    random = np.random.default_rng(0)
    run_layer_test(
        FeedbackSimilarity,
        {},
        (random.normal(size=(2, 3, 4)).astype("float32"), np.ones((2, 5, 4), "float32")),
        expected_output_shape=(2, 3, 5),
        expected_num_trainable_weights=0,
    )


def test_cosines_of_the_own_row():
    # Every row differs, so that contexts of one session beside candidates of another (a tile
    # where a repeat belongs) cannot give the right numbers.
    random = np.random.default_rng(0)
    contexts = random.normal(size=(4, 3, 6)).astype("float32")
    candidates = random.normal(size=(4, 5, 6)).astype("float32")
    found = ops.convert_to_numpy(FeedbackSimilarity()(contexts, candidates))
    for row in range(4):
        for i in range(3):
            for j in range(5):
                c, e = contexts[row, i], candidates[row, j]
                cosine = c @ e / np.linalg.norm(c) / np.linalg.norm(e)
                assert found[row, i, j] == pytest.approx(cosine, abs=1e-5)


def test_rows_are_never_mixed():
    random = np.random.default_rng(0)
    contexts, candidates = random.normal(size=(2, 3, 3, 4)).astype("float32")
    before = ops.convert_to_numpy(FeedbackSimilarity()(contexts, candidates))
    candidates[1] = random.normal(size=(3, 4))
    after = ops.convert_to_numpy(FeedbackSimilarity()(contexts, candidates))
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    assert (after[1] != before[1]).all()


def test_zero_vector_has_cosine_0_and_a_finite_gradient():
    contexts = np.ones((1, 1, 3), "float32")
    candidates = np.array([[[0, 0, 0], [2, 2, 2]]], "float32")
    cosines = ops.convert_to_numpy(FeedbackSimilarity()(contexts, candidates))
    np.testing.assert_allclose(cosines, [[[0, 1]]], atol=1e-6)
    value, gradient = value_and_gradient(
        lambda x: ops.sum(FeedbackSimilarity()(contexts, x)), candidates
    )
    assert value == pytest.approx(1)
    assert np.isfinite(gradient).all()
    value, gradient = value_and_gradient(
        lambda x: ops.sum(FeedbackSimilarity()(x, candidates)), np.zeros((1, 1, 3))
    )
    assert value == 0
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("size", [1e-3, 300.0])
def test_half_precision_neither_overflows_nor_vanishes(size):
    vectors = np.full((1, 2, 64), size, "float16")
    cosines = FeedbackSimilarity(dtype="float16")(vectors, vectors)
    np.testing.assert_allclose(ops.convert_to_numpy(cosines), np.ones((1, 2, 2)), atol=1e-2)


def test_widths_must_agree():
    with pytest.raises(ValueError, match=r"must have the same width. Received: contexts"):
        FeedbackSimilarity()(np.zeros((1, 2, 3), "float32"), np.zeros((1, 2, 4), "float32"))


def test_dot_products_of_the_own_row():
    contexts, candidates = np.random.default_rng(0).normal(size=(2, 4, 3, 6)).astype("float32")
    found = ops.convert_to_numpy(FeedbackSimilarity("dot")(contexts, candidates))
    for row in range(4):
        for i in range(3):
            for j in range(3):
                expected = contexts[row, i] @ candidates[row, j]
                assert found[row, i, j] == pytest.approx(expected, abs=1e-5)


def test_unknown_similarity():
    with pytest.raises(ValueError, match="`similarity` must be one of 'cosine', 'dot'"):
        FeedbackSimilarity("euclidean")
