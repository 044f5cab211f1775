import numpy as np
import pytest
from keras import ops

from keras_negrec.layers import EventDropout


def dropped(ids, **options):
    return ops.convert_to_numpy(EventDropout(**options)(ids, training=True))


def test_drops_that_share_in_training_and_nothing_otherwise():
    ids = np.arange(1, 10_001, dtype="int32").reshape(100, 100)
    ids[:, :10] = 0
    found = dropped(ids, rate=0.3, seed=0)
    assert (found[:, :11] == ids[:, :11]).all()  # the oldest event
    assert (found[:, 11:] == 0).mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(found[found > 0], ids[found > 0])
    np.testing.assert_array_equal(ops.convert_to_numpy(EventDropout(0.3)(ids)), ids)


def test_each_step_drops_anew():
    layer, ids = EventDropout(0.5, seed=0), np.ones((10, 10), "int32")
    first, second = (ops.convert_to_numpy(layer(ids, training=True)) for _ in range(2))
    assert (first != second).any()


def test_the_mask_token_stays():
    ids = np.array([[5, *([3, 9, 9, 9] * 50)]], "int32")
    found = dropped(ids, rate=0.9, max_id=8)
    assert (found[ids == 9] == 9).all()
    assert (found[ids == 3] == 0).any()
