import itertools

import numpy as np
import pytest

from smac_jax.statistics import (
    estimate_improvement,
    estimate_iqm,
    interquartile_mean,
    probability_of_improvement,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([8, 1, 7, 2, 6, 3, 5, 100], (3 + 5 + 6 + 7) / 4),
        ([4, 1, 100, 2], 3),
        # A quarter of five is one, of three none.
        ([0, 1, 2, 3, 100], 2),
        ([0, 1, 5], 2),
        ([0.3], 0.3),
    ],
)
def test_iqm_is_the_mean_of_the_middle_half(values, expected):
    assert estimate_iqm([np.array(values, float)]).value == pytest.approx(expected)


def test_iqm_pools_the_runs_of_all_tasks():
    strata = [np.array([0.0, 1.0]), np.array([10.0, 11.0])]
    assert interquartile_mean(*strata) == pytest.approx((1 + 10) / 2)


def test_iqm_is_taken_along_the_last_axis_of_resamples():
    resamples = np.array([[8, 1, 7, 2, 6, 3, 5, 100], [0, 0, 1, 1, 1, 1, 9, 9]], float)
    np.testing.assert_allclose(interquartile_mean(resamples[:, :3], resamples[:, 3:]), [5.25, 1.0])


def enumerated(x, y):
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(x, y)]
    return sum(wins) / len(wins)


def test_probability_of_improvement_by_enumeration():
    rng = np.random.default_rng(0)
    tasks = [(rng.integers(0, 4, n).astype(float), rng.integers(0, 4, m).astype(float)) for n, m in ((3, 5), (4, 2))]
    expected = np.mean([enumerated(x, y) for x, y in tasks])
    x, y = zip(*tasks, strict=True)
    assert estimate_improvement(x, y, lower_is_better=False).value == pytest.approx(expected)
    assert estimate_improvement(x, y, lower_is_better=True).value == pytest.approx(1 - expected)


def test_probability_of_improvement_of_known_samples():
    x, y = np.array([1.0, 2.0]), np.array([1.0, 0.0])
    # 1 ties with 1 and beats 0; 2 beats both.
    assert probability_of_improvement(x, y) == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    assert estimate_improvement([x], [y], lower_is_better=True).value == pytest.approx(0.125)
    with pytest.raises(ValueError, match="pairs"):
        probability_of_improvement(x)


def test_bootstrap_interval_is_that_of_an_exhaustive_bootstrap():
    values = np.array([0.1, 0.5, 0.6, 0.65, 0.9])
    resamples = np.array(list(itertools.product(values, repeat=len(values))))
    expected = np.percentile(interquartile_mean(resamples), (2.5, 97.5))
    estimate = estimate_iqm([values])
    # The statistic has few values, a thirtieth apart.
    np.testing.assert_allclose(estimate.interval, expected, atol=0.034)
    assert estimate.interval[0] < estimate.value < estimate.interval[1]


def test_tasks_are_strata():
    # Resampled together the two tasks would mix and the interval would be wide; by themselves they do not vary.
    low, high = estimate_iqm([np.zeros(5), np.ones(5)]).interval
    assert (low, high) == (0.5, 0.5)


def test_bootstrap_interval_covers():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        strata = [rng.uniform(0, 1, 10), rng.uniform(0, 1, 10)]
        low, high = estimate_iqm(strata, seed=trial).interval
        covered += low <= 0.5 <= high
    # Percentile intervals are a little too narrow; 180 is four standard deviations below 95 %.
    assert 172 <= covered <= 200


def test_values_are_those_of_rliable():
    # rliable 1.2.0 with pandas 2.3.3: aggregate_iqm with 20000 resamples, probability_of_improvement with 2000.
    rng = np.random.default_rng(0)
    x, y = rng.random((7, 4)), rng.random((7, 4)) * 1.2
    iqm, improvement = estimate_iqm(list(x.T)), estimate_improvement(list(x.T), list(y.T), lower_is_better=False)
    assert iqm.value == pytest.approx(0.56501202)
    np.testing.assert_allclose(iqm.interval, (0.38701018, 0.71138485), atol=0.02)
    assert improvement.value == pytest.approx(0.42857143)
    np.testing.assert_allclose(improvement.interval, (0.27040816, 0.58686224), atol=0.02)


def test_a_single_run_has_no_interval():
    assert estimate_iqm([np.array([0.2, 0.4]), np.array([0.5])]).interval is None
    assert estimate_improvement([np.array([1.0])], [np.array([0.0, 2.0])], lower_is_better=False) == (0.5, None)


def test_intervals_repeat():
    strata = [np.random.default_rng(0).normal(size=20), np.arange(3.0)]
    assert estimate_iqm(strata) == estimate_iqm(strata)
    assert estimate_iqm(strata).interval != estimate_iqm(strata, seed=1).interval
