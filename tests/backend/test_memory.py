import numpy as np
from keras import ops

from keras_negrec.backend.memory import read_array


def test_values():
    values = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    found = read_array(ops.matmul(values, np.eye(5, dtype="float32")))
    assert isinstance(found, np.ndarray) and found.dtype == "float32"
    np.testing.assert_array_equal(found, values)


def test_outlives_the_tensor():
    arrays = [read_array(ops.full((1000,), float(i))) for i in range(20)]
    assert [(array.min(), array.max()) for array in arrays] == [(i, i) for i in range(20)]
