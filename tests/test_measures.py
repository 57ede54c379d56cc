import itertools

import numpy as np
import pytest

from smac_jax import measures


def exact_drop_noise(episodes, evaluations):
    total = 0.0
    draws = list(itertools.product(episodes, repeat=evaluations * len(episodes)))
    for draw in draws:
        scores = [
            sum(draw[index * len(episodes) : (index + 1) * len(episodes)]) / len(episodes)
            for index in range(evaluations)
        ]
        lowest = min((first + second) / 2 for first, second in itertools.pairwise(scores))
        total += max(0.0, scores[0] - lowest)
    return total / len(draws)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.8, 0.2, 0.4, 0.9], 0.5),
        # The pair at the start counts, with the evaluation at step 0 in it.
        ([0.8, 0.2, 0.8], 0.3),
        # One bad evaluation is averaged with its better neighbour.
        ([0.5, 0.5, 0.1, 0.5, 0.5], 0.2),
        # A fall after a rise is measured from the start, not from the peak.
        ([0.5, 0.9, 0.9, 0.4, 0.4], 0.1),
        ([0.5, 0.9, 0.6, 0.6], 0.0),
        # The last pair counts.
        ([0.6, 0.6, 0.6, 0.0, 0.0], 0.6),
        ([0.7, 0.3], 0.2),
        ([0.3, 0.7], 0.0),
        ([100.0, 40.0, 60.0], 50.0),
    ],
)
def test_drop(scores, expected):
    assert measures.drop(scores) == pytest.approx(expected)


def test_drop_of_a_monotone_rise_is_exactly_zero():
    assert measures.drop(np.linspace(0.1, 0.9, 20)) == 0.0
    assert measures.drop([0.4] * 5) == 0.0


@pytest.mark.parametrize("scores", [[], [0.5], np.zeros((2, 2))])
def test_drop_refuses_too_few_evaluations(scores):
    with pytest.raises(ValueError, match="two evaluations"):
        measures.drop(scores)


def test_drop_noise_of_constant_episodes_is_zero():
    assert measures.drop_noise([0.5] * 8, evaluations=6) == pytest.approx(0.0, abs=1e-12)
    assert measures.drop_noise([0.3], evaluations=4) == 0.0


# With two evaluations of two episodes: E[max(0, v0 - v1)] / 2 = (1/16 + 1/16 + 1/16) / 2.
@pytest.mark.parametrize(("episodes", "evaluations"), [((0, 1), 2), ((0, 1), 5), ((0, 0, 1), 3)])
def test_drop_noise_is_the_expected_drop_of_bernoulli_episodes(episodes, evaluations):
    exact = exact_drop_noise(episodes, evaluations)
    if (episodes, evaluations) == ((0, 1), 2):
        assert exact == pytest.approx(3 / 32)
    estimate = measures.drop_noise(episodes, evaluations, resamples=8000)
    # Five standard errors of a mean of 8000 drops in [0, 1].
    assert estimate == pytest.approx(exact, abs=0.015)


def test_drop_noise_grows_with_evaluations_and_falls_with_episodes():
    assert measures.drop_noise([0, 1] * 5, 20) > 1.3 * measures.drop_noise([0, 1] * 5, 3)
    assert measures.drop_noise([0, 1] * 50, 20) < 0.5 * measures.drop_noise([0, 1] * 5, 20)


def test_drop_noise_repeats_with_its_seed():
    first, again, other = (measures.drop_noise([0, 1, 1], 4, resamples=200, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.0, 0.5, 1.0], 0.5),
        ([0.2], 0.8),
        ([1.0, 1.0], 0.0),
        ([0.0, 0.0], 1.0),
        # Normalised scores leave [0, 1].
        ([1.2, 1.1], 0.0),
        ([-0.3, -0.1], 1.0),
    ],
)
def test_regret(scores, expected):
    assert measures.regret(scores) == pytest.approx(expected)


def test_regret_of_no_evaluation_is_nan():
    assert np.isnan(measures.regret([]))
    assert np.isnan(measures.regret(np.array([])))


@pytest.mark.parametrize(
    ("scores", "valley", "fall"),
    [
        ([0.2, 0.5, 0.9], 0.0, 0.0),
        # A valley is measured from the lower end, a fall from the highest point before it.
        ([0.8, 0.1, 0.4], 0.3, 0.7),
        ([0.3, 0.7, 0.2, 0.6], 0.1, 0.5),
        ([0.6, 0.5, 0.1], 0.0, 0.5),
        ([0.4, 0.4], 0.0, 0.0),
    ],
)
def test_valley_and_fall_of_a_way(scores, valley, fall):
    assert measures.valley(scores) == pytest.approx(valley)
    assert measures.fall(scores) == pytest.approx(fall)
