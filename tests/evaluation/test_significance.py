import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from keras_negrec.evaluation import bootstrap_mean, holm_correction


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_interval_of_scipy(rng, confidence):
    values = rng.exponential(size=80)
    found = bootstrap_mean(values, num_resamples=20_000, confidence=confidence)
    options = {"n_resamples": 20_000, "method": "percentile", "rng": np.random.default_rng(1)}
    expected = stats.bootstrap([values], np.mean, confidence_level=confidence, **options)
    assert found.mean == values.mean()
    spread = values.std() / np.sqrt(80)
    assert (found.low, found.high) == pytest.approx(
        tuple(expected.confidence_interval), abs=0.05 * spread
    )


@pytest.mark.parametrize("shift", [0.0, 0.03, -0.03])
def test_close_to_the_t_test_for_many_examples(rng, shift):
    values = rng.normal(shift, 1, 3000)
    found = bootstrap_mean(values, num_resamples=10_000)
    expected = stats.ttest_1samp(values, 0)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)
    assert (found.low, found.high) == pytest.approx(tuple(interval), abs=0.002)


def test_under_the_null_p_is_uniform(rng):
    """And under another hypothesis it is not: the test can fail."""
    normal = rng.normal(size=(300, 2000))
    found = bootstrap_mean(normal, num_resamples=2000)
    assert stats.kstest(found.p, "uniform").pvalue > 0.01
    for level in (0.01, 0.05, 0.2):
        alarms = np.mean(found.p < level)
        assert alarms == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 2000) + 0.003)
    covered = np.mean((found.low < 0) & (found.high > 0))
    assert covered == pytest.approx(0.95, abs=0.02)

    alarms = np.mean(bootstrap_mean(normal + 0.1, num_resamples=2000).p < 0.05)
    assert 0.3 < alarms < 0.6  # the z test's power here is 0.41


def test_p_agrees_with_the_interval(rng):
    found = bootstrap_mean(rng.normal(0.12, 1, (200, 200)), num_resamples=4000)
    outside = (found.low > 0) | (found.high < 0)
    clear = np.abs(found.p - 0.05) > 0.003  # the quantile lies between two resamples
    assert 0.2 < outside.mean() < 0.8
    assert (outside == (found.p < 0.05))[clear].all()


def test_p_is_never_0_and_never_above_1():
    values = np.ones((50, 1)) * [1, 0, -1]
    assert bootstrap_mean(values, num_resamples=999).p.tolist() == [2 / 1000, 1, 2 / 1000]


def test_columns_are_as_if_alone_and_seeded(rng):
    values = rng.normal(0.1, 1, (60, 3))
    together = bootstrap_mean(values, num_resamples=500, seed=3)
    alone = bootstrap_mean(values[:, 1], num_resamples=500, seed=3)
    np.testing.assert_allclose([part[1] for part in together], alone)
    assert isinstance(float(alone.p), float) and np.ndim(alone.p) == 0
    assert bootstrap_mean(values, num_resamples=500, seed=4).low[1] != alone.low


def test_no_examples():
    assert np.isnan(bootstrap_mean(np.zeros(0))).all()
    assert np.isnan(bootstrap_mean(np.zeros((0, 2))).p).tolist() == [True, True]


@pytest.mark.parametrize(
    ("values", "arguments", "message"),
    [
        ([1.0, np.nan], {}, "`values` must be finite. Received: nan"),
        (np.zeros((1, 1, 1)), {}, r"one or two dimensions. Received: \(1, 1, 1\)"),
        ([1.0], {"confidence": 1}, "`confidence` .* Received: confidence=1"),
        ([1.0], {"num_resamples": 0}, "`num_resamples` .* Received: num_resamples=0"),
    ],
)
def test_bootstrap_refuses(values, arguments, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(values, **arguments)


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        # sorted: .005 * 4, .01 * 3, then .03 * 2 = .06 also for .04 * 1, which must not be smaller
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.02, np.nan, 0.5], [0.04, np.nan, 0.5]),  # one was not made
        ([np.nan], [np.nan]),
        ([], []),
    ],
)
def test_holm_by_hand(p_values, expected):
    np.testing.assert_allclose(holm_correction(p_values), expected)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    rejected = set()
    for step, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] * (len(p_values) - step) > 0.05:
            break
        rejected.add(index)
    assert set(np.flatnonzero(holm_correction(p_values) <= 0.05)) == rejected


def test_holm_refuses_what_is_no_p_value():
    with pytest.raises(ValueError, match=r"`p_values` .* Received: 1.5"):
        holm_correction([0.5, 1.5])
