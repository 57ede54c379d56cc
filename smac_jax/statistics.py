"""Statistics of few seeds on several tasks: interquartile mean, probability of improvement, bootstrap intervals.

After Agarwal et al., 2021 (arXiv 2108.13264). Their library, rliable 1.2.0, is not used: beside pandas 3, which pip
gets with it, it cannot be imported (it pins arch<8, whose 7.2.0 fails with `deprecate_kwarg() missing 1 required
positional argument`), and it wants the same number of seeds on every task. scipy's `trim_mean` and `bootstrap` do the
same work: of several samples each is resampled by itself, which is the stratified bootstrap. The tests hold rliable's
values.

A *stratum* is the runs of one method on one task, (S,), one value a seed.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap, trim_mean

CONFIDENCE = 0.95
RESAMPLES = 2000


class Estimate(NamedTuple):
    """A statistic with its bootstrap interval; without one where a stratum has a single run.

    Attributes:
        value: of the runs themselves.
        interval: lower and upper end of the 95 % percentile interval.
    """

    value: float
    interval: tuple[float, float] | None


def interquartile_mean(*strata: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of the middle half of all runs, the strata laid together.

    A quarter of the runs, rounded down, is left out at either end: with fewer than four runs it is their mean.
    """
    return trim_mean(np.concatenate(strata, axis=axis), 0.25, axis=axis)


def probability_of_improvement(*strata: np.ndarray, axis: int = -1) -> np.ndarray:
    """Chance that a run of X scores above a run of Y on the same task, ties as halves; mean over tasks.

    Args:
        strata: X on each of T tasks, then Y on each of them; 2 T arrays.
        axis: of the runs; only the last one.
    """
    if axis != -1 or len(strata) % 2:
        raise ValueError("strata come in pairs, with their runs along the last axis")
    tasks = len(strata) // 2
    signs = (np.sign(x[..., :, None] - y[..., None, :]) for x, y in zip(strata[:tasks], strata[tasks:], strict=True))
    return np.mean([(1 + sign.mean(axis=(-2, -1))) / 2 for sign in signs], axis=0)


def _estimate(statistic: Callable[..., np.ndarray], strata: Sequence[np.ndarray], seed: int) -> Estimate:
    """A statistic of strata; each stratum is resampled by itself, with replacement."""
    value = float(statistic(*strata))
    # One run says nothing about the spread between runs, and a resample would pass it off as certain.
    if min(len(stratum) for stratum in strata) < 2:
        return Estimate(value, None)
    result = bootstrap(
        strata, statistic, n_resamples=RESAMPLES, vectorized=True, axis=-1, confidence_level=CONFIDENCE,
        method="percentile", rng=seed,
    )  # fmt: skip
    return Estimate(value, (float(result.confidence_interval.low), float(result.confidence_interval.high)))


def estimate_iqm(strata: Sequence[np.ndarray], seed: int = 0) -> Estimate:
    """Interquartile mean of a method over its runs on T tasks.

    Args:
        strata: T arrays (S_t,), none empty. Tasks with more runs weigh more.
        seed: of the resampling.
    """
    return _estimate(interquartile_mean, strata, seed)


def estimate_improvement(
    strata: Sequence[np.ndarray], others: Sequence[np.ndarray], lower_is_better: bool, seed: int = 0
) -> Estimate:
    """Probability that a method improves on another.

    The methods are resampled independently. Pairs that continue one pre-training share its luck, so that their
    interval is rather too wide.

    Args:
        strata: T arrays (S_t,), runs of the method.
        others: T arrays, runs of the other method on the same tasks.
        lower_is_better: whether small values are good, as with regret.
        seed: of the resampling.
    """
    sign = -1.0 if lower_is_better else 1.0
    return _estimate(probability_of_improvement, [sign * runs for runs in (*strata, *others)], seed)
