import keras
import numpy as np
import pytest
from keras import ops

from keras_negrec.layers import ItemEmbedding


def with_table():
    layer = ItemEmbedding(6, 4, mask_token=True)
    layer.build()
    table = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    layer.embeddings.assign(table)
    return layer, table


def test_item_j_has_row_j_minus_1_padding_the_zero_vector_and_the_mask_its_own():
    layer, table = with_table()
    layer.mask_embedding.assign(np.array([7.0, 8.0, 9.0, 10.0]))
    vectors = ops.convert_to_numpy(layer(np.array([[0, 1, 6], [3, 7, 6]], "int32")))
    expected = [[[0] * 4, table[0], table[5]], [table[2], [7, 8, 9, 10], table[5]]]
    np.testing.assert_allclose(vectors, np.array(expected))


def test_reverse_scores_the_items_alone():
    layer, table = with_table()
    vectors = np.random.default_rng(1).normal(size=(2, 3, 4)).astype("float32")
    scores = ops.convert_to_numpy(layer(vectors, reverse=True))
    assert scores.shape == (2, 3, 6)  # neither padding nor mask token
    np.testing.assert_allclose(scores, vectors @ table.T, rtol=1e-5, atol=1e-6)


def with_features():
    layer = ItemEmbedding(4, 4, mask_token=True, num_features=3)
    layer.build()
    random = np.random.default_rng(1)
    features = random.normal(size=(4, 3)).astype("float32")
    own, kernel = random.normal(size=(4, 4)), random.normal(size=(3, 4))
    layer.embeddings.assign(own)
    layer.feature_kernel.assign(kernel)
    layer.set_features(features)
    return layer, own, features @ kernel


@pytest.mark.parametrize("counts", [None, [3, 0, 1, 0]])
def test_vectors_with_features(counts):
    layer, own, mapped = with_features()
    occurs = np.ones((4, 1))
    if counts:
        layer.adapt(counts)
        occurs = np.array([[1], [0], [1], [0]])
    expected = own * occurs + mapped
    np.testing.assert_allclose(ops.convert_to_numpy(layer.table()), expected, atol=1e-5)
    found = ops.convert_to_numpy(layer(np.array([[0, 1, 2], [3, 4, 5]], "int32")))
    np.testing.assert_array_equal(found[0, 0], np.zeros(4))
    np.testing.assert_allclose(found[0, 1:], expected[:2], atol=1e-5)
    np.testing.assert_allclose(found[1, :2], expected[2:], atol=1e-5)
    np.testing.assert_allclose(found[1, 2], ops.convert_to_numpy(layer.mask_embedding))
    query = np.random.default_rng(2).normal(size=(2, 4)).astype("float32")
    scores = ops.convert_to_numpy(layer(query, reverse=True))
    np.testing.assert_allclose(scores, query @ expected.T, atol=1e-5)
    # In training, what never occurs does not compete.
    scores = ops.convert_to_numpy(layer(query, reverse=True, training=True))
    competes = np.broadcast_to(occurs[:, 0] == 1, scores.shape)
    np.testing.assert_allclose(scores[competes], (query @ expected.T)[competes], atol=1e-5)
    assert (scores[~competes] < -1e3).all()


def test_adapt_forgets_no_item():
    layer, _, _ = with_features()
    layer.adapt([3, 0, 1, 0])
    layer.adapt([0, 0, 0, 2])
    assert ops.convert_to_numpy(layer.occurs).tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((4, 2)), r"must have shape \(num_items, num_features\), \(4, 3\). Received"),
        (np.full((4, 3), np.nan), "must be finite. Received for item 1"),
    ],
)
def test_bad_features(features, message):
    layer, _, _ = with_features()
    with pytest.raises(ValueError, match=message):
        layer.set_features(features)


@pytest.mark.parametrize("num_items", [100, 2**17 + 2**12])
def test_initial_table(num_items):
    """Also of more rows than are drawn at once: a seed repeats them, and no two are alike."""
    tables = []
    for _ in range(2):
        initializer = keras.initializers.TruncatedNormal(stddev=0.02, seed=3)
        layer = ItemEmbedding(num_items, 4, embeddings_initializer=initializer)
        layer.build()
        tables.append(ops.convert_to_numpy(layer.embeddings))
    np.testing.assert_array_equal(*tables)
    assert len(np.unique(tables[0], axis=0)) == num_items
    for part in (tables[0][: 2**17], tables[0][2**17 :]):
        if len(part):
            assert part.mean() == pytest.approx(0.0, abs=0.003)
            assert part.std() == pytest.approx(0.0176, rel=0.1)  # 0.02, cut off at two
