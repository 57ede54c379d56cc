"""Measures of a fine-tuning run: drop, its noise floor, regret, and what lies on the way between its ends."""

from collections.abc import Sequence

import numpy as np


def drop(scores: Sequence[float]) -> float:
    """How far the score falls below its start.

    max(0, offline score - lowest mean of two consecutive online evaluations), where the evaluation at step 0 is both
    the offline score and the first online evaluation.

    Args:
        scores: (K,) scores of all online evaluations, the one at step 0 first.

    Raises:
        ValueError: fewer than two evaluations.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError("the drop needs at least two evaluations, the one at step 0 and a later one")
    return float(max(0.0, values[0] - np.min((values[:-1] + values[1:]) / 2)))


def drop_noise(initial_episodes: Sequence[float], evaluations: int, resamples: int = 2000, seed: int = 0) -> float:
    """The drop that a policy which does not change would show on the same schedule.

    Each evaluation is imitated by a resample, with replacement, of the episodes at step 0; the result is the mean of
    `drop` over many such runs.

    Args:
        initial_episodes: (E,) episode scores of the evaluation at step 0.
        evaluations: K, number of online evaluations, the one at step 0 included.
        resamples: number of imitated runs.
        seed: of the resampling.
    """
    episodes = np.asarray(initial_episodes, dtype=np.float64)
    rng = np.random.default_rng(seed)
    imitated = rng.choice(episodes, size=(resamples, evaluations, len(episodes))).mean(axis=-1)
    return float(np.mean([drop(scores) for scores in imitated]))


def regret(scores: Sequence[float]) -> float:
    """Mean of 1 - score, clipped to [0, 1] (Cal-QL, Nakamoto et al., 2023, arXiv 2303.05479).

    Args:
        scores: (K,) scores: of all online evaluations with the one at step 0 for the contract's `regret`, of training
            episodes for `train_regret` (CORL's). NaN where there are none.
    """
    if len(scores) == 0:
        return float("nan")
    return float(np.clip(np.mean(1.0 - np.asarray(scores, dtype=np.float64)), 0.0, 1.0))


def valley(scores: Sequence[float]) -> float:
    """How far the lowest score of a way lies below the lower one of its ends.

    Args:
        scores: (P,) scores along the way, both ends included.
    """
    values = np.asarray(scores, dtype=np.float64)
    return float(min(values[0], values[-1]) - values.min())


def fall(scores: Sequence[float]) -> float:
    """The most that is lost between a point of a way and a later one; 0 where the score only rises.

    Args:
        scores: (P,) scores along the way, both ends included.
    """
    values = np.asarray(scores, dtype=np.float64)
    return float(np.max(np.maximum.accumulate(values) - values))
