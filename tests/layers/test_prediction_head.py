import math

import numpy as np
from keras import ops

from keras_negrec.layers import PredictionHead

INPUTS = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")


def test_transform_is_dense_with_gelu_then_normalization():
    head = PredictionHead()
    head.build(INPUTS.shape)
    kernel = np.random.default_rng(1).normal(size=(4, 4)).astype("float32")
    head.dense.kernel.assign(kernel)
    dense = INPUTS @ kernel
    dense = dense * np.vectorize(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))(dense)  # gelu
    centred = dense - dense.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(head(INPUTS)), expected, atol=1e-4)
