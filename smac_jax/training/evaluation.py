"""Evaluation of all seeds' deterministic policies on vectorised environments."""

from collections.abc import Callable, Sequence

import gymnasium as gym
import numpy as np

from smac_jax.envs.collector import Outcome, read_outcomes
from smac_jax.keys import episode_seed

Policy = Callable[[np.ndarray], np.ndarray]


def evaluate(
    policy: Policy, env: gym.vector.SyncVectorEnv, seeds: Sequence[int], step: int, episodes: int
) -> list[list[Outcome]]:
    """Run `episodes` episodes of every seed's policy.

    Episode k of a seed starts from a reset seed that depends on (seed, step, k) alone: an evaluation can be repeated,
    and different evaluations of a run see different episodes, so that their noise is independent.

    Args:
        policy: maps observations (S, n, O) to actions (S, n, A).
        env: S * n environments with manual resets, n for each of the S seeds.
        seeds: S seeds.
        step: number of the evaluation's step.
        episodes: per seed.

    Returns:
        Outcomes by seed and episode.
    """
    per_seed = env.num_envs // len(seeds)
    results: list[list[Outcome | None]] = [[None] * episodes for _ in seeds]
    begun = [0] * len(seeds)
    # Episode that an environment is running; `episodes` stands for one that is not counted.
    running = np.full(env.num_envs, episodes)

    def begin(mask: np.ndarray) -> np.ndarray:
        resets = [0] * env.num_envs
        for index in np.flatnonzero(mask).tolist():
            owner = index // per_seed
            running[index] = min(begun[owner], episodes)
            begun[owner] += 1
            resets[index] = episode_seed(seeds[owner], "evaluation", step, int(running[index]))
        return env.reset(seed=resets, options={"reset_mask": mask})[0]  # type: ignore[arg-type]

    observations = begin(np.ones(env.num_envs, bool))
    remaining = episodes * len(seeds)
    while remaining > 0:
        actions = policy(observations.reshape(len(seeds), per_seed, -1)).reshape(env.num_envs, -1)
        observations, _, terminations, truncations, infos = env.step(actions)
        for index, outcome in read_outcomes(infos).items():
            if running[index] < episodes:
                results[index // per_seed][running[index]] = outcome
                remaining -= 1
        done = terminations | truncations
        if done.any() and remaining > 0:
            observations = begin(done)
    return [[outcome for outcome in row if outcome is not None] for row in results]
