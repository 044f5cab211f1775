import numpy as np
from keras import ops
from run_layer_test import run_layer_test

from keras_negrec.layers import PredictionHead

INPUTS = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
POSITIONS = np.array([[4, 0], [2, 2], [1, 3]], "int32")


def test_layer():
    run_layer_test(
        PredictionHead,
        {"activation": "relu"},
        (INPUTS, POSITIONS),
        expected_output_shape=(3, 2, 4),
        expected_num_trainable_weights=2,
    )


def test_layer_without_positions():
    run_layer_test(
        PredictionHead,
        {},
        (INPUTS,),
        expected_output_shape=(3, 5, 4),
        expected_num_trainable_weights=2,
    )


def test_picks_positions_of_the_own_row():
    head = PredictionHead(activation="linear")
    head.build(INPUTS.shape)
    head.dense.kernel.assign(np.eye(4))
    found = ops.convert_to_numpy(head(INPUTS, POSITIONS))
    for row in range(3):
        for slot in range(2):
            np.testing.assert_allclose(
                found[row, slot], INPUTS[row, POSITIONS[row, slot]], rtol=1e-6
            )


def test_every_position_in_order_by_default():
    head = PredictionHead()
    everywhere = ops.convert_to_numpy(head(INPUTS))
    positions = np.tile(np.arange(5, dtype="int32"), (3, 1))
    np.testing.assert_allclose(
        ops.convert_to_numpy(head(INPUTS, positions)), everywhere, rtol=1e-5, atol=1e-6
    )
