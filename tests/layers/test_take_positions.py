import numpy as np
import pytest
from keras import ops

from keras_negrec.layers import TakePositions

INPUTS = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
POSITIONS = np.array([[4, 0], [2, -5], [-1, 3]], "int32")


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_picks_positions_of_the_own_row(dtype):
    found = ops.convert_to_numpy(TakePositions()(INPUTS, POSITIONS.astype(dtype)))
    for row in range(3):
        for slot in range(2):
            np.testing.assert_array_equal(found[row, slot], INPUTS[row, POSITIONS[row, slot]])
