import numpy as np
import pytest
from keras import ops
from run_layer_test import run_layer_test

from keras_negrec.layers import AppendMaskToken

HISTORY = np.array([[0, 0, 5], [7, 8, 9]], "int32")


@pytest.mark.parametrize("fill", [None, 0, 11])
def test_layer(fill):
    run_layer_test(
        AppendMaskToken,
        {"fill": fill},
        (HISTORY,),
        expected_output_shape=(2, 3),
        expected_output_dtype="int32",
        expected_num_trainable_weights=0,
    )


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        (11, [[0, 5, 11], [8, 9, 11]]),
        (0, [[0, 5, 0], [8, 9, 0]]),
        (None, [[0, 5, 5], [8, 9, 9]]),
    ],
)
def test_new_event_takes_the_place_of_the_oldest(fill, expected):
    np.testing.assert_array_equal(ops.convert_to_numpy(AppendMaskToken(fill)(HISTORY)), expected)


def test_negative_fill():
    with pytest.raises(ValueError, match="`fill` must be a positive integer"):
        AppendMaskToken(-1)
