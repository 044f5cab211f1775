import numpy as np
import pytest
from keras import ops
from run_layer_test import run_layer_test
from value_and_gradient import value_and_gradient

from keras_negrec.layers.dropout import Dropout


def test_layer():
    run_layer_test(
        Dropout,
        {"rate": 0.2},
        (np.ones((3, 5, 7), "float32"),),
        expected_output_shape=(3, 5, 7),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
    )


def dropped(rate, shape, seed=0):
    layer = Dropout(rate, seed=seed)
    return ops.convert_to_numpy(layer(np.ones(shape, "float32"), training=True)), layer


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.2, 0.5, 0.9, 0.999])
def test_drops_at_the_rate_and_keeps_the_mean(rate):
    layer, ones, num_calls = Dropout(rate, seed=0), np.ones((100, 101), "float32"), 300
    dropped_shares = []
    for _ in range(num_calls):
        values = ops.convert_to_numpy(layer(ones, training=True))
        np.testing.assert_allclose(values[values > 0], 1 / (1 - rate), rtol=1e-5)
        dropped_shares.append((values == 0).mean())
    # Each call's rate is within 1 / 256, and their mean is the rate.
    of_a_call = np.sqrt(rate * (1 - rate) / ones.size)
    assert np.abs(np.array(dropped_shares) - rate).max() < 1 / 256 + 5 * of_a_call
    spread = np.hypot(of_a_call, 0.5 / 256) / np.sqrt(num_calls)
    assert abs(np.mean(dropped_shares) - rate) < 5 * spread


def test_values_are_dropped_independently():
    values, _ = dropped(0.5, (400, 500))
    kept = (values > 0).astype("float64") - 0.5
    spread = 0.25 / np.sqrt(kept.size)
    for axis in (0, 1):
        for shift in (1, 2, 3, 4):  # four values share the bits of one draw
            product = kept * np.roll(kept, shift, axis)
            assert abs(product.mean()) < 5 * spread


def test_each_call_draws_anew_and_a_seed_repeats_them():
    first, layer = dropped(0.5, (10, 10))
    again = ops.convert_to_numpy(layer(np.ones((10, 10), "float32"), training=True))
    assert (first != again).any()
    np.testing.assert_array_equal(first, dropped(0.5, (10, 10))[0])
    assert (first != dropped(0.5, (10, 10), seed=1)[0]).any()


def test_only_in_training_and_only_above_zero():
    inputs = np.arange(6, dtype="float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(Dropout(0.5)(inputs)), inputs)
    unchanged = Dropout(0.0)(inputs, training=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(unchanged), inputs)


def test_what_is_dropped_has_no_gradient():
    inputs = np.ones((50, 3), "float32")
    values, _ = dropped(0.25, inputs.shape)
    layer = Dropout(0.25, seed=0)
    _, gradient = value_and_gradient(lambda x: ops.sum(layer(x, training=True)), inputs)
    np.testing.assert_allclose(gradient, values, rtol=1e-6)
