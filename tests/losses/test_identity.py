import numpy as np
import pytest

from keras_negrec.losses import Identity

LOSSES = np.array([[0.5, 2.0, 4.0], [1.0, 3.0, 0.0]], "float32")
WEIGHT = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], "float32")


def test_mean_over_what_counts():
    assert float(Identity()(LOSSES * 0, LOSSES, WEIGHT)) == pytest.approx((0.5 + 4 + 3) / 3)
    assert float(Identity()(LOSSES * 0, LOSSES)) == pytest.approx(LOSSES.mean())
    assert float(Identity()(LOSSES * 0, LOSSES, WEIGHT * 0)) == 0
