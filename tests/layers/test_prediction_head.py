import numpy as np
import pytest
from keras import ops
from run_layer_test import run_layer_test

from keras_negrec.layers import PredictionHead

INPUTS = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
POSITIONS = np.array([[4, 0], [2, 2], [1, 3]], "int32")


@pytest.mark.parametrize(("transform", "num_weights"), [(True, 4), (False, 0)])
def test_layer(transform, num_weights):
    run_layer_test(
        PredictionHead,
        {"transform": transform, "activation": "relu"},
        (INPUTS, POSITIONS),
        expected_output_shape=(3, 2, 4),
        expected_num_trainable_weights=num_weights,
    )


def test_layer_without_positions():
    run_layer_test(
        PredictionHead,
        {},
        (INPUTS,),
        expected_output_shape=(3, 5, 4),
        expected_num_trainable_weights=4,
    )


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_picks_positions_of_the_own_row(dtype):
    found = ops.convert_to_numpy(PredictionHead(transform=False)(INPUTS, POSITIONS.astype(dtype)))
    for row in range(3):
        for slot in range(2):
            np.testing.assert_array_equal(found[row, slot], INPUTS[row, POSITIONS[row, slot]])


def test_transform_is_dense_with_activation_then_normalization():
    head = PredictionHead(activation="relu")
    head.build(INPUTS.shape)
    kernel = np.random.default_rng(1).normal(size=(4, 4)).astype("float32")
    head.dense.kernel.assign(kernel)
    dense = np.maximum(INPUTS @ kernel, 0)
    centred = dense - dense.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(head(INPUTS)), expected, atol=1e-4)


def test_every_position_in_order_by_default():
    head = PredictionHead()
    everywhere = ops.convert_to_numpy(head(INPUTS))
    positions = np.tile(np.arange(5, dtype="int32"), (3, 1))
    np.testing.assert_allclose(
        ops.convert_to_numpy(head(INPUTS, positions)), everywhere, rtol=1e-5, atol=1e-6
    )
