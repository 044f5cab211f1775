import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_negrec.evaluation import holm_correction


def test_hand_worked():
    # sorted: .005 * 4, .01 * 3, then .03 * 2 = .06 also for .04 * 1, which must not be smaller
    np.testing.assert_allclose(holm_correction([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_a_test_that_was_not_made_does_not_count():
    np.testing.assert_allclose(holm_correction([0.02, np.nan, 0.5]), [0.04, np.nan, 0.5])
    assert np.isnan(holm_correction([np.nan])).all()
    assert holm_correction([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_rejects_what_the_step_down_procedure_rejects(p_values):
    rejected = set()
    for step, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] * (len(p_values) - step) > 0.05:
            break
        rejected.add(index)
    assert set(np.flatnonzero(holm_correction(p_values) <= 0.05)) == rejected


@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_refuses_what_is_no_p_value(value):
    with pytest.raises(ValueError, match=f"`p_values` .* Received: {value}"):
        holm_correction([0.5, value])
