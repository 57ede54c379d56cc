"""Online experience from one environment a seed, with a record that rebuilds every environment."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from smac_jax.errors import InputError

# Rounding that differs between machines; draws that differ are further apart.
_REBUILD_TOLERANCE = 1e-5


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
    rebuilds any environment without its internals. The record's observations tell whether it has.
    """

    def __init__(self, env: gym.vector.SyncVectorEnv, episode_seeds: Sequence[Callable[[int], int]], horizon: int):
        """Take S environments, the seed of each one's n-th episode, and the longest episode in steps."""
        self._env = env
        spec = env.envs[0].unwrapped.spec
        self._name = spec.id if spec is not None else type(env.envs[0].unwrapped).__name__
        self._episode_seeds = episode_seeds
        count, action_dim = env.num_envs, env.single_action_space.shape[0]  # type: ignore[index]
        self._episodes = np.zeros(count, np.int64)
        self._lengths = np.zeros(count, np.int64)
        self._actions = np.zeros((count, horizon, action_dim), np.float32)
        self.observations = np.zeros((count, *env.single_observation_space.shape), np.float32)  # type: ignore[misc]

    def reset(self) -> None:
        """Begin the first episode of every environment.

        Raises:
            InputError: an observation is not finite.
        """
        self._begin_episodes(np.ones(self._env.num_envs, bool))

    def _begin_episodes(self, mask: np.ndarray) -> None:
        seeds = [seeds(int(episode)) for seeds, episode in zip(self._episode_seeds, self._episodes, strict=True)]
        observations, _ = self._env.reset(seed=seeds, options={"reset_mask": mask})  # type: ignore[arg-type]
        self.observations = observations
        self._lengths[mask] = 0
        self._actions[mask] = 0.0
        self._check_finite("observation of a reset", observations)

    def _check_finite(self, name: str, values: np.ndarray) -> None:
        """Refuse values (S, ...) of which one is no number: once in the replay, it would spoil every batch it is in."""
        finite = np.isfinite(values)
        if not finite.all():
            index = int(np.argmin(finite.reshape(len(values), -1).all(axis=1)))
            raise InputError(
                f"{self._name} has a NaN or infinite {name}, at seed index {index}, episode {self._episodes[index]}, "
                f"step {self._lengths[index]}; make its simulation stable, or end the episode before it breaks"
            )

    def step(self, actions: np.ndarray) -> tuple[Transitions, dict[int, Outcome]]:
        """Step all environments with actions (S, A); episodes that end begin anew.

        Returns:
            The transitions and the outcomes of the episodes that ended, by seed index.

        Raises:
            InputError: an observation or a reward is not finite.
        """
        rows = np.arange(len(actions))
        self._actions[rows, self._lengths] = actions
        self._lengths += 1
        next_observations, rewards, terminations, truncations, infos = self._env.step(actions)
        self._check_finite("observation", next_observations)
        self._check_finite("reward", rewards)
        transitions = Transitions(self.observations, actions, rewards.copy(), terminations.copy(), next_observations)
        outcomes = read_outcomes(infos)
        done = terminations | truncations
        self.observations = next_observations
        if done.any():
            self._episodes[done] += 1
            self._begin_episodes(done)
        return transitions, outcomes

    def record(self) -> dict[str, np.ndarray]:
        """What `restore` needs.

        Episode numbers (S,), their lengths so far (S,), their actions (S, horizon, A) and the observations (S, O) that
        these have led to.
        """
        return {
            "episodes": self._episodes.copy(),
            "lengths": self._lengths.copy(),
            "actions": self._actions.copy(),
            "observations": self.observations.copy(),
        }

    def restore(self, record: Mapping[str, np.ndarray]) -> None:
        """Bring every environment to the recorded point by repeating its episode so far.

        Args:
            record: from `record`; one without observations, as there were before, is trusted.

        Raises:
            InputError: an environment comes to another point, so that the run would not be the one that was cut off.
        """
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
        expected = record.get("observations")
        if expected is None:
            return
        for index, (rebuilt, recorded) in enumerate(zip(self.observations, expected, strict=True)):
            if not np.allclose(rebuilt, recorded, rtol=_REBUILD_TOLERANCE, atol=_REBUILD_TOLERANCE):
                raise InputError(
                    f"{self._name} does not repeat its episode {self._episodes[index]} of seed index {index}: after "
                    f"{self._lengths[index]} steps its observation differs from the recorded one by "
                    f"{np.abs(rebuilt - recorded).max():.2g}; make reset depend on its seed alone (self.np_random) and "
                    "begin the run anew, or resume with the package versions it was begun with"
                )
