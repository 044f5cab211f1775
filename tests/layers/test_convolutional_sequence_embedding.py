import numpy as np
import pytest
from keras import ops
from run_layer_test import run_layer_test

from keras_negrec.layers import ConvolutionalSequenceEmbedding

SMALL = {"window": 3, "horizontal_filters": 2, "vertical_filters": 4}


def rows(length=6):
    return np.random.default_rng(0).normal(size=(2, length, 5)).astype("float32")


def test_layer():
    run_layer_test(
        ConvolutionalSequenceEmbedding,
        SMALL,
        (rows(),),
        expected_output_shape=(2, 6, 3 * 2 + 5 * 4),
        expected_num_trainable_weights=2 * (3 + 1),
    )


def reference(layer, inputs):
    """Window by window, filter by filter."""
    output = np.zeros((*inputs.shape[:2], 26))
    for row in range(len(inputs)):
        for position in range(inputs.shape[1]):
            window = np.zeros((3, 5))
            for back in range(3):
                if position - back >= 0:
                    window[2 - back] = inputs[row, position - back]
            features = []
            for height in (1, 2, 3):
                kernel, bias = map(ops.convert_to_numpy, layer.horizontal[height - 1].weights)
                for f in range(2):
                    responses = [
                        max(0.0, (window[top : top + height] * kernel[:, :, f]).sum() + bias[f])
                        for top in range(3 - height + 1)
                    ]
                    features.append(max(responses))
            kernel, bias = map(ops.convert_to_numpy, layer.vertical.weights)
            for column in range(5):
                for f in range(4):
                    features.append((window[:, column] * kernel[:, 0, f]).sum() + bias[f])
            output[row, position] = features
    return output


def test_against_reference():
    layer, inputs = ConvolutionalSequenceEmbedding(**SMALL), rows()
    layer.build(inputs.shape)
    for convolution in [*layer.horizontal, layer.vertical]:
        convolution.bias.assign(np.linspace(-0.5, 0.5, convolution.bias.shape[0]))
    found = ops.convert_to_numpy(layer(inputs))
    np.testing.assert_allclose(found, reference(layer, inputs), atol=1e-5)


def test_left_padding_changes_nothing():
    layer, inputs = ConvolutionalSequenceEmbedding(**SMALL), rows()
    layer.build(inputs.shape)
    layer.horizontal[0].bias.assign(np.array([0.5, -0.5]))  # padding has responses too
    padded = np.pad(inputs, [(0, 0), (4, 0), (0, 0)])
    found, expected = (ops.convert_to_numpy(layer(x)) for x in (padded, inputs))
    np.testing.assert_allclose(found[:, 4:], expected, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_bad_arguments(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
        ConvolutionalSequenceEmbedding(**{name: 0})
