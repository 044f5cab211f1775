import numpy as np
from keras import ops

from keras_negrec.layers import ConvolutionalSequenceEmbedding

SMALL = {"window": 3, "horizontal_filters": 2, "vertical_filters": 4}


def rows(length=6):
    return np.random.default_rng(0).normal(size=(2, length, 5)).astype("float32")


def reference(layer, inputs):
    """Window by window, filter by filter."""
    output = np.zeros((*inputs.shape[:2], 26))
    padded = np.pad(inputs, [(0, 0), (2, 0), (0, 0)])
    for row, position in np.ndindex(*inputs.shape[:2]):
        window = padded[row, position : position + 3]
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
        for column, f in np.ndindex(5, 4):
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
