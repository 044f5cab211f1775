import numpy as np
import pytest
from keras import ops
from value_and_gradient import value_and_gradient

from keras_negrec.layers import FeedbackSimilarity


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_similarities_of_the_own_row(similarity):
    # Every row differs, so that contexts of one session beside candidates of another (a tile
    # where a repeat belongs) cannot give the right numbers.
    random = np.random.default_rng(0)
    contexts = random.normal(size=(4, 3, 6)).astype("float32")
    candidates = random.normal(size=(4, 5, 6)).astype("float32")
    found = ops.convert_to_numpy(FeedbackSimilarity(similarity)(contexts, candidates))
    for row, i, j in np.ndindex(4, 3, 5):
        c, e = contexts[row, i], candidates[row, j]
        lengths = np.linalg.norm(c) * np.linalg.norm(e) if similarity == "cosine" else 1
        assert found[row, i, j] == pytest.approx(c @ e / lengths, abs=1e-5)


def test_zero_vector_has_cosine_0_and_a_finite_gradient():
    contexts = np.ones((1, 1, 3), "float32")
    candidates = np.array([[[0, 0, 0], [2, 2, 2]]], "float32")
    cosines = ops.convert_to_numpy(FeedbackSimilarity()(contexts, candidates))
    np.testing.assert_allclose(cosines, [[[0, 1]]], atol=1e-6)
    for function, inputs, expected in (
        (lambda x: ops.sum(FeedbackSimilarity()(contexts, x)), candidates, 1),
        (lambda x: ops.sum(FeedbackSimilarity()(x, candidates)), np.zeros((1, 1, 3)), 0),
    ):
        value, gradient = value_and_gradient(function, inputs)
        assert value == pytest.approx(expected)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("size", [1e-3, 300.0])
def test_half_precision_neither_overflows_nor_vanishes(size):
    vectors = np.full((1, 2, 64), size, "float16")
    cosines = FeedbackSimilarity(dtype="float16")(vectors, vectors)
    np.testing.assert_allclose(ops.convert_to_numpy(cosines), np.ones((1, 2, 2)), atol=1e-2)


def test_widths_must_agree():
    with pytest.raises(ValueError, match=r"must have the same width. Received: contexts"):
        FeedbackSimilarity()(np.zeros((1, 2, 3), "float32"), np.zeros((1, 2, 4), "float32"))
