import numpy as np
import pytest
from keras import ops
from run_layer_test import run_layer_test

from keras_negrec.layers import KeepLogit


def built():
    layer = KeepLogit(4)
    layer.build((2, 3, 5), (2, 3))
    random = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape).astype("float32"))
    return layer


def test_layer():
    run_layer_test(
        KeepLogit,
        {"num_items": 4},
        (np.random.default_rng(0).normal(size=(2, 3, 5)).astype("float32"), np.ones((2, 3), int)),
        expected_output_shape=(2, 3, 1),
        expected_num_trainable_weights=3,
    )


def test_context_and_item_add_up():
    layer = built()
    contexts = np.random.default_rng(1).normal(size=(2, 3, 5)).astype("float32")
    ids = np.array([[1, 4, 0], [2, 2, 3]])
    found = ops.convert_to_numpy(layer(contexts, ids))
    kernel, offset = (ops.convert_to_numpy(weight) for weight in layer.dense.weights)
    bias = ops.convert_to_numpy(layer.keep_biases())
    for row in range(2):
        for i in range(3):
            if ids[row, i]:
                expected = contexts[row, i] @ kernel[:, 0] + offset[0] + bias[ids[row, i] - 1]
                assert found[row, i, 0] == pytest.approx(expected, abs=1e-5)
    assert np.isfinite(found).all()


def test_items_start_alike():
    layer = KeepLogit(4)
    found = ops.convert_to_numpy(layer(np.ones((1, 4, 5)), np.array([[1, 2, 3, 4]])))
    assert len(set(found.ravel().tolist())) == 1


def test_num_items():
    with pytest.raises(ValueError, match="`num_items` must be a positive integer"):
        KeepLogit(0)
