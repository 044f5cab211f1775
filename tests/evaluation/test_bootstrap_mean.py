import numpy as np
import pytest
from scipy import stats

from keras_negrec.evaluation import bootstrap_mean


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def hits(rng, num_examples, up, down):
    """Differences between two models' hits: -1, 0 and 1."""
    return rng.choice([1.0, -1, 0], num_examples, p=[up, down, 1 - up - down])


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_interval_of_scipy(rng, confidence):
    values = rng.exponential(size=80)
    found = bootstrap_mean(values, num_resamples=20_000, confidence=confidence)
    expected = stats.bootstrap(
        [values],
        np.mean,
        n_resamples=20_000,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found.mean == values.mean()
    spread = values.std() / np.sqrt(80)
    assert found.low == pytest.approx(expected.low, abs=0.05 * spread)
    assert found.high == pytest.approx(expected.high, abs=0.05 * spread)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.03, -0.03, 0.04])
def test_close_to_the_t_test_for_many_examples(rng, shift):
    values = rng.normal(shift, 1, 3000)
    found = bootstrap_mean(values, num_resamples=20_000)
    expected = stats.ttest_1samp(values, 0)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)
    assert (found.low, found.high) == pytest.approx(tuple(interval), abs=0.002)


def test_hits_close_to_mcnemar(rng):
    values = hits(rng, 2000, 0.05, 0.035)
    up, down = (values > 0).sum(), (values < 0).sum()
    mcnemar = stats.chi2.sf((up - down) ** 2 / (up + down), df=1)
    assert 0.001 < mcnemar < 0.2
    assert bootstrap_mean(values, num_resamples=20_000).p == pytest.approx(mcnemar, abs=0.015)


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


def test_hits_under_the_null_raise_no_more_alarms_than_they_should(rng):
    values = np.stack([hits(rng, 500, 0.04, 0.04) for _ in range(1000)], axis=1)
    alarms = np.mean(bootstrap_mean(values, num_resamples=2000).p < 0.05)
    assert 0.02 < alarms < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 1000)


def test_p_agrees_with_the_interval(rng):
    values = rng.normal(0.12, 1, (200, 200))
    found = bootstrap_mean(values, num_resamples=4000)
    outside = (found.low > 0) | (found.high < 0)
    clear = np.abs(found.p - 0.05) > 0.003  # the quantile lies between two resamples
    assert 0.2 < outside.mean() < 0.8
    assert (outside == (found.p < 0.05))[clear].all()


def test_p_is_never_0_and_never_above_1():
    assert bootstrap_mean(np.ones(50), num_resamples=999).p == 2 / 1000
    assert bootstrap_mean(np.zeros(50), num_resamples=999).p == 1
    assert bootstrap_mean(-np.ones(50), num_resamples=999).p == 2 / 1000


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
        (np.zeros((1, 1, 1)), {}, r"one or two dimensions. Received: shape \(1, 1, 1\)"),
        ([1.0], {"confidence": 1}, "`confidence` .* Received: confidence=1"),
        ([1.0], {"num_resamples": 0}, "`num_resamples` .* Received: num_resamples=0"),
    ],
)
def test_refuses(values, arguments, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(values, **arguments)
