"""Online experience from one environment a seed, with a record that rebuilds every environment."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np


class Outcome(NamedTuple):
    """How an episode ended; see `envs.wrappers.EpisodeOutcome`."""

    score: float
    episode_return: float
    success: float
    length: int


class Transitions(NamedTuple):
    """One environment step of S seeds, with the environment's own rewards.

    Attributes:
        observations: (S, O).
        actions: (S, A).
        rewards: (S,).
        terminations: (S,) bool; a time-out is not one.
        next_observations: (S, O), before any reset.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminations: np.ndarray
    next_observations: np.ndarray


def read_outcomes(infos: Mapping[str, Any]) -> dict[int, Outcome]:
    """Outcomes of the episodes that ended in a vector step, by index of their environment."""
    if "outcome" not in infos:
        return {}
    outcome = infos["outcome"]
    return {
        int(index): Outcome(
            float(outcome["score"][index]),
            float(outcome["return"][index]),
            float(outcome["success"][index]),
            int(outcome["length"][index]),
        )
        for index in np.flatnonzero(infos["_outcome"])
    }


class Collector:
    """Steps one environment a seed and remembers how each running episode came about.

    An episode is a function of its reset seed and its actions, so the record (episode number, actions so far)
    rebuilds any environment without its internals.
    """

    def __init__(self, env: gym.vector.SyncVectorEnv, episode_seeds: Sequence[Callable[[int], int]], horizon: int):
        """Take S environments, the seed of each one's n-th episode, and the longest episode in steps."""
        self._env = env
        self._episode_seeds = episode_seeds
        count, action_dim = env.num_envs, env.single_action_space.shape[0]  # type: ignore[index]
        self._episodes = np.zeros(count, np.int64)
        self._lengths = np.zeros(count, np.int64)
        self._actions = np.zeros((count, horizon, action_dim), np.float32)
        self.observations = np.zeros((count, *env.single_observation_space.shape), np.float32)  # type: ignore[misc]

    def reset(self) -> None:
        """Begin the first episode of every environment."""
        self._begin_episodes(np.ones(self._env.num_envs, bool))

    def _begin_episodes(self, mask: np.ndarray) -> None:
        seeds = [seeds(int(episode)) for seeds, episode in zip(self._episode_seeds, self._episodes, strict=True)]
        observations, _ = self._env.reset(seed=seeds, options={"reset_mask": mask})  # type: ignore[arg-type]
        self.observations = observations
        self._lengths[mask] = 0
        self._actions[mask] = 0.0

    def step(self, actions: np.ndarray) -> tuple[Transitions, dict[int, Outcome]]:
        """Step all environments with actions (S, A); episodes that end begin anew.

        Returns:
            The transitions and the outcomes of the episodes that ended, by seed index.
        """
        rows = np.arange(len(actions))
        self._actions[rows, self._lengths] = actions
        self._lengths += 1
        next_observations, rewards, terminations, truncations, infos = self._env.step(actions)
        transitions = Transitions(self.observations, actions, rewards.copy(), terminations.copy(), next_observations)
        outcomes = read_outcomes(infos)
        done = terminations | truncations
        self.observations = next_observations
        if done.any():
            self._episodes[done] += 1
            self._begin_episodes(done)
        return transitions, outcomes

    def record(self) -> dict[str, np.ndarray]:
        """What `restore` needs: episode numbers (S,), their lengths so far (S,), their actions (S, horizon, A)."""
        return {
            "episodes": self._episodes.copy(),
            "lengths": self._lengths.copy(),
            "actions": self._actions.copy(),
        }

    def restore(self, record: Mapping[str, np.ndarray]) -> None:
        """Bring every environment to the recorded point by repeating its episode so far."""
        self._episodes = np.array(record["episodes"])
        self._lengths = np.array(record["lengths"])
        self._actions = np.array(record["actions"])
        observations = []
        for index, env in enumerate(self._env.envs):
            observation, _ = env.reset(seed=self._episode_seeds[index](int(self._episodes[index])))
            for action in self._actions[index, : self._lengths[index]]:
                observation, *_ = env.step(action)
            observations.append(observation)
        self.observations = np.stack(observations)
