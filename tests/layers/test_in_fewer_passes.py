import keras
import numpy as np
import pytest
from keras import ops
from value_and_gradient import value_and_gradient

from keras_negrec.layers.in_fewer_passes import Dropout, LayerNormalization, gelu

RANDOM = np.random.default_rng(0)


def assert_values_and_gradients_alike(ours, of_keras, inputs):
    weights = ops.convert_to_tensor(RANDOM.normal(size=inputs.shape), "float32")
    both = []
    for function in (ours, of_keras):
        _, gradient = value_and_gradient(lambda x, f=function: ops.sum(f(x) * weights), inputs)
        values = ops.stop_gradient(function(ops.convert_to_tensor(inputs)))
        both.append((ops.convert_to_numpy(values), gradient))
    for found, expected in zip(*both, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_gelu_is_that_of_keras():
    inputs = np.linspace(-12, 12, 2001).astype("float32")
    assert_values_and_gradients_alike(gelu, keras.activations.gelu, inputs)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gelu_keeps_the_dtype(dtype):
    values = gelu(ops.cast([-1.0, 0.0, 1.0], dtype))
    assert keras.backend.standardize_dtype(values.dtype) == dtype
    values = ops.convert_to_numpy(ops.cast(values, "float32"))
    np.testing.assert_allclose(values, [-0.1587, 0, 0.8413], atol=0.01)


@pytest.mark.parametrize("shape", [(7, 8), (3, 5, 8)])
def test_layer_normalization_is_that_of_keras(shape):
    both = [each(epsilon=1e-5) for each in (LayerNormalization, keras.layers.LayerNormalization)]
    weights = RANDOM.normal(size=(2, 8))
    for layer in both:
        layer.build((None, 8))
        layer.set_weights(weights)
    inputs = (3 + 2 * RANDOM.normal(size=shape)).astype("float32")
    inputs[0] = 0  # no variance
    assert_values_and_gradients_alike(*both, inputs)
    inputs, targets = RANDOM.normal(size=(2, *shape)).astype("float32")
    for layer in both:
        model = keras.Sequential([keras.Input(shape[1:]), layer])
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.train_on_batch(inputs, targets)
    for ours, plain in zip(*(layer.get_weights() for layer in both), strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-5, rtol=1e-5)


def dropped(layer, shape):
    return ops.convert_to_numpy(layer(np.ones(shape, "float32"), training=True))


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.2, 0.5, 0.9, 0.999])
def test_drops_at_the_rate_and_keeps_the_mean(rate):
    layer, shape, num_calls = Dropout(rate, seed=0), (100, 101), 300
    dropped_shares = []
    for _ in range(num_calls):
        values = dropped(layer, shape)
        np.testing.assert_allclose(values[values > 0], 1 / (1 - rate), rtol=1e-5)
        dropped_shares.append((values == 0).mean())
    # Each call's rate is within 1 / 256, and their mean is the rate.
    of_a_call = np.sqrt(rate * (1 - rate) / values.size)
    assert np.abs(np.array(dropped_shares) - rate).max() < 1 / 256 + 5 * of_a_call
    spread = np.hypot(of_a_call, 0.5 / 256) / np.sqrt(num_calls)
    assert abs(np.mean(dropped_shares) - rate) < 5 * spread


def test_values_are_dropped_independently():
    values = dropped(Dropout(0.5, seed=0), (400, 500))
    kept = (values > 0).astype("float64") - 0.5
    spread = 0.25 / np.sqrt(kept.size)
    for axis in (0, 1):
        for shift in (1, 2, 3, 4):  # four values share the bits of one draw
            assert abs((kept * np.roll(kept, shift, axis)).mean()) < 5 * spread


def test_each_call_draws_anew_and_a_seed_repeats_them():
    layer = Dropout(0.5, seed=0)
    first, again = dropped(layer, (10, 10)), dropped(layer, (10, 10))
    assert (first != again).any()
    np.testing.assert_array_equal(first, dropped(Dropout(0.5, seed=0), (10, 10)))
    assert (first != dropped(Dropout(0.5, seed=1), (10, 10))).any()


def test_drops_only_in_training_and_only_above_zero():
    inputs = np.arange(6, dtype="float32")
    for unchanged in (Dropout(0.5)(inputs), Dropout(0.0)(inputs, training=True)):
        np.testing.assert_array_equal(ops.convert_to_numpy(unchanged), inputs)


def test_what_is_dropped_has_no_gradient():
    values, layer = dropped(Dropout(0.25, seed=0), (50, 3)), Dropout(0.25, seed=0)
    _, gradient = value_and_gradient(
        lambda x: ops.sum(layer(x, training=True)), np.ones((50, 3), "float32")
    )
    np.testing.assert_allclose(gradient, values, rtol=1e-6)
