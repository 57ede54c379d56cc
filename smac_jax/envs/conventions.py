"""Reward conventions: for each, a relabelling of recorded episodes and the live wrapper that agrees with it."""

from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from smac_jax.envs.episode import Episode
from smac_jax.errors import InputError


def _end_at(episode: Episode, done: np.ndarray) -> Episode:
    """The episode up to the first step (T,) that is done, which terminates it; all of it where none is."""
    return episode.cut(int(np.argmax(done)) + 1, terminated=True) if done.any() else episode


def _check_end(episode: Episode, done: np.ndarray, env_id: str) -> None:
    """Refuse a termination without success: with nothing to follow it, failing would look better than going on."""
    if episode.terminations.any() and not done.any():
        raise InputError(
            f"it terminates without success, where {env_id} goes on; mark its end as a truncation, or record it anew"
        )


def keep_native(episode: Episode, spec: EnvSpec) -> Episode:
    """Rewards and terminations as recorded."""
    del spec
    return episode


def success_minus_one(episode: Episode, spec: EnvSpec) -> Episode:
    """Adroit "binary" convention: reward success - 1, end at the first success (AWAC, arXiv 2006.09359).

    An episode that succeeds only after the evaluation horizon is kept up to its success: it still shows how.

    Raises:
        InputError: the dataset records no `infos/success`, or one that its own sparse rewards contradict, or it
            terminates without success.
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
    if spec.kwargs.get("reward_type") == "sparse" and np.any((episode.rewards > 0) != success):
        step = int(np.argmax((episode.rewards > 0) != success))
        raise InputError(
            f"the reward {episode.rewards[step]:g} at step {step} contradicts infos/success={success[step]}, since "
            f"{spec.id} pays at success alone; record both anew"
        )
    _check_end(episode, success, spec.id)
    return _end_at(episode._replace(rewards=success.astype(np.float64) - 1.0), success)


class SuccessMinusOne(gym.Wrapper):
    """Live counterpart of `success_minus_one`."""

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step; reward success - 1, terminated at success."""
        observation, _, _, truncated, info = self.env.step(action)
        success = bool(info["success"])
        return observation, float(success) - 1.0, success, truncated, info


# FrankaKitchen: a task is done where its joints are nearer to their goal than this.
_KITCHEN_THRESHOLD = 0.3


def _tasks_done(goals: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], targets: Sequence[str]) -> np.ndarray:
    """Which targets are done (T, targets) after each action, by the environment's own rule."""
    achieved, desired = goals
    distances = [np.linalg.norm(achieved[name][1:] - desired[name][1:], axis=-1) for name in targets]
    return np.stack(distances, axis=-1) < _KITCHEN_THRESHOLD


def newly_completed(episode: Episode, spec: EnvSpec) -> Episode:
    """Kitchen in the convention of the live environment: +1 once per target task, end when all are done.

    The live convention is the one kept, since it is Markov in (state, tasks done) and has an end: with the public
    D4RL/kitchen data's own rewards, the number of targets done at each step without termination, a fast solution
    and standing still after it would be told apart only by the time limit.

    A number of targets done does not say which. Where one is undone before another is done, only the recorded goals
    tell that two were completed; a dataset without them is relabelled by the largest number so far.

    Raises:
        InputError: the specification does not name the target tasks, the rewards cannot count them, or it terminates
            before all are done.
    """
    if "tasks_to_complete" not in spec.kwargs:
        raise InputError(f"{spec.id} was recorded without tasks_to_complete; record it with the target tasks named")
    targets = spec.kwargs["tasks_to_complete"]
    pays_once = spec.kwargs.get("remove_task_when_completed", True)
    rewards = np.asarray(episode.rewards, dtype=np.float64)
    completed = np.cumsum(rewards) if pays_once else np.maximum.accumulate(rewards)
    if np.any(rewards < 0) or np.any(rewards % 1 != 0) or completed[-1] > len(targets):
        convention = "newly completed tasks" if pays_once else "tasks that are done at each step"
        raise InputError(
            f"rewards up to {rewards.max():g} with a sum of {rewards.sum():g} are not the number of {convention}, "
            f"of {len(targets)}, that {spec.id} with remove_task_when_completed={pays_once} pays; "
            "record them as it pays them"
        )
    if not pays_once and episode.goals is not None:
        completed = np.sum(np.logical_or.accumulate(_tasks_done(episode.goals, targets)), axis=-1)
    done = completed >= len(targets)
    _check_end(episode, done, spec.id)
    return _end_at(episode._replace(rewards=np.diff(completed, prepend=0.0)), done)


def ends_at_goal(episode: Episode, spec: EnvSpec) -> Episode:
    """Mazes: reward 1 at the goal and 0 elsewhere, end at the goal, as the live environment with continuing_task=False.

    Datasets recorded with continuing_task=True go on at the goal without an end; what follows the first arrival there
    is left out.

    Raises:
        InputError: rewards other than 0 and 1, or a termination away from the goal.
    """
    rewards = np.asarray(episode.rewards, dtype=np.float64)
    if not np.all((rewards == 0) | (rewards == 1)):
        other = rewards[(rewards != 0) & (rewards != 1)][0]
        raise InputError(
            f"the reward {other:g} is not that of a sparse maze, 1 at the goal and 0 elsewhere; record {spec.id} with "
            'reward_type="sparse"'
        )
    if np.any(episode.terminations & (rewards == 0)):
        raise InputError(f"it terminates without the goal's reward of 1, which {spec.id} never does; record it anew")
    return _end_at(episode._replace(rewards=rewards), rewards == 1)
