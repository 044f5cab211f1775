import keras
import numpy as np
import pytest
from keras import ops
from value_and_gradient import value_and_gradient

from keras_negrec.backend.in_fewer_passes import in_fewer_passes


def test_gelu_is_that_of_keras():
    inputs = np.linspace(-12, 12, 2001).astype("float32")
    weights = np.random.default_rng(0).normal(size=inputs.shape)
    weights = ops.convert_to_tensor(weights, "float32")
    both = []
    for gelu in (in_fewer_passes(keras.activations.gelu), keras.activations.gelu):
        _, gradient = value_and_gradient(lambda x, gelu=gelu: ops.sum(gelu(x) * weights), inputs)
        values = ops.stop_gradient(gelu(ops.convert_to_tensor(inputs)))
        both.append((ops.convert_to_numpy(values), gradient))
    for ours, plain in zip(*both, strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_keeps_the_dtype(dtype):
    gelu = in_fewer_passes(keras.activations.gelu)
    values = gelu(ops.cast([-1.0, 0.0, 1.0], dtype))
    assert keras.backend.standardize_dtype(values.dtype) == dtype
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(values, "float32")), [-0.1587, 0, 0.8413], atol=0.01
    )
