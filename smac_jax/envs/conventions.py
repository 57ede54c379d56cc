"""Reward conventions: for each, a relabelling of recorded episodes and the live wrapper that agrees with it."""

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from smac_jax.envs.episode import Episode
from smac_jax.errors import InputError


def keep_native(episode: Episode, spec: EnvSpec) -> Episode:
    """Rewards and terminations as recorded."""
    del spec
    return episode


def success_minus_one(episode: Episode, spec: EnvSpec) -> Episode:
    """Adroit "binary" convention: reward success - 1, end at the first success (AWAC, arXiv 2006.09359).

    An episode that succeeds only after the evaluation horizon is kept up to its success: it still shows how.

    Raises:
        InputError: the dataset records no `infos/success`.
    """
    if "success" not in episode.infos:
        raise InputError(
            f"the dataset of {spec.id} has no infos/success, from which the binary reward is made; "
            "record it with DataCollector(record_infos=True)"
        )
    success = np.asarray(episode.infos["success"], dtype=bool)[1:]
    if success.shape != episode.rewards.shape:
        raise InputError(
            f"infos/success of {spec.id} has shape {success.shape} after the reset's entry instead of "
            f"{episode.rewards.shape}; record one entry an observation, as DataCollector does"
        )
    relabelled = episode._replace(rewards=success.astype(np.float64) - 1.0)
    if not success.any():
        return relabelled
    return relabelled.cut(int(np.argmax(success)) + 1, terminated=True)


class SuccessMinusOne(gym.Wrapper):
    """Live counterpart of `success_minus_one`."""

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step; reward success - 1, terminated at success."""
        observation, _, _, truncated, info = self.env.step(action)
        success = bool(info["success"])
        return observation, float(success) - 1.0, success, truncated, info


def newly_completed(episode: Episode, spec: EnvSpec) -> Episode:
    """Kitchen in the convention of the live environment: +1 once per target task, end when all are done.

    The live convention is the one kept, since it is Markov in (state, tasks done) and has an end: with the public
    D4RL/kitchen data's own rewards, the number of targets done at each step without termination, a fast solution
    and standing still after it would be told apart only by the time limit.

    Raises:
        InputError: the specification does not name the target tasks.
    """
    if "tasks_to_complete" not in spec.kwargs:
        raise InputError(f"{spec.id} was recorded without tasks_to_complete; record it with the target tasks named")
    rewards = np.asarray(episode.rewards, dtype=np.float64)
    if spec.kwargs.get("remove_task_when_completed", True):
        completed = np.cumsum(rewards)
    else:
        completed = np.maximum.accumulate(rewards)
    relabelled = episode._replace(rewards=np.diff(completed, prepend=0.0))
    done = completed >= len(spec.kwargs["tasks_to_complete"])
    if not done.any():
        return relabelled
    return relabelled.cut(int(np.argmax(done)) + 1, terminated=True)
