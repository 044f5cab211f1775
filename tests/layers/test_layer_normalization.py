import keras
import numpy as np
import pytest
from keras import ops
from run_layer_test import run_layer_test
from value_and_gradient import value_and_gradient

from keras_negrec.layers.layer_normalization import LayerNormalization

RANDOM = np.random.default_rng(0)


def test_layer():
    run_layer_test(
        LayerNormalization,
        {"epsilon": 1e-5},
        (RANDOM.normal(size=(2, 5, 8)).astype("float32"),),
        expected_output_shape=(2, 5, 8),
        expected_num_trainable_weights=2,
    )


def both_layers(width):
    layers = [each(epsilon=1e-5) for each in (LayerNormalization, keras.layers.LayerNormalization)]
    gamma, beta = RANDOM.normal(size=(2, width))
    for layer in layers:
        layer.build((None, width))
        layer.set_weights([gamma, beta])
    return layers


@pytest.mark.parametrize("shape", [(7, 8), (3, 5, 8)])
def test_values_and_gradients_are_those_of_keras(shape):
    inputs = (3 + 2 * RANDOM.normal(size=shape)).astype("float32")
    inputs[0] = 0  # no variance
    weights = ops.convert_to_tensor(RANDOM.normal(size=shape), "float32")
    both = []
    for layer in both_layers(8):
        _, gradient = value_and_gradient(lambda x, layer=layer: ops.sum(layer(x) * weights), inputs)
        both.append((ops.convert_to_numpy(ops.stop_gradient(layer(inputs))), gradient))
    for ours, plain in zip(*both, strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(7, 8), (3, 5, 8)])
def test_weights_are_trained_as_those_of_keras(shape):
    inputs, targets = RANDOM.normal(size=(2, *shape)).astype("float32")
    trained = []
    for layer in both_layers(8):
        model = keras.Sequential([keras.Input(shape[1:]), layer])
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.train_on_batch(inputs, targets)
        trained.append(layer.get_weights())
    for ours, plain in zip(*trained, strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-5, rtol=1e-5)
