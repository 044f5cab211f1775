import numpy as np
from keras import ops

from keras_negrec.layers import KeepLogit


def test_context_and_item_add_up():
    layer, random = KeepLogit(4), np.random.default_rng(0)
    layer.build((2, 3, 5), (2, 3))
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape).astype("float32"))
    contexts = random.normal(size=(2, 3, 5)).astype("float32")
    ids = np.array([[1, 4, 0], [2, 2, 3]])
    found = ops.convert_to_numpy(layer(contexts, ids))
    kernel, offset = (ops.convert_to_numpy(weight) for weight in layer.dense.weights)
    bias = ops.convert_to_numpy(layer.keep_biases())
    expected = contexts @ kernel + offset + bias[ids - 1][..., None]
    np.testing.assert_allclose(found[ids > 0], expected[ids > 0], atol=1e-5)
    assert np.isfinite(found).all()


def test_items_start_alike():
    layer = KeepLogit(4)
    found = ops.convert_to_numpy(layer(np.ones((1, 4, 5)), np.array([[1, 2, 3, 4]])))
    assert len(set(found.ravel().tolist())) == 1
