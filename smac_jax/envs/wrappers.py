"""Wrappers that every task shares: flat observations and the outcome of an episode."""

from collections.abc import Sequence
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np

from smac_jax.envs.episode import flat_space, flatten_observation
from smac_jax.envs.tasks import ScoreRule, normalized_score


class FlatObservation(gym.ObservationWrapper):
    """Observations as float32 vectors, by the same function that flattens the dataset's."""

    def __init__(self, env: gym.Env, keys: Sequence[str] = ()):
        super().__init__(env)
        self._keys = tuple(keys)
        self.observation_space = flat_space(env.observation_space, keys)

    def observation(self, observation: Any) -> np.ndarray:
        """Flatten one observation to (O,)."""
        return flatten_observation(observation, self._keys)


class EpisodeOutcome(gym.Wrapper):
    """Adds `info["outcome"]` at the last step of an episode: score, return, success and length.

    The return sums the rewards of the wrapped environment, before the learner's scale and shift. Success is
    whether `info["success"]` was ever true; NaN in environments that report none.
    """

    def __init__(self, env: gym.Env, score: ScoreRule, env_id: str):
        super().__init__(env)
        self._score = score
        self._env_id = env_id
        self._return, self._length, self._success, self._completions = 0.0, 0, float("nan"), 0

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and the account of the episode."""
        self._return, self._length, self._success, self._completions = 0.0, 0, float("nan"), 0
        return self.env.reset(**kwargs)

    def _final_score(self) -> float:
        if self._score == "success":
            return self._success
        if self._score == "completions":
            return self._completions / len(self.env.unwrapped.spec.kwargs["tasks_to_complete"])  # type: ignore[union-attr]
        if self._score == "normalized_return":
            return normalized_score(self._return, self._env_id)
        return self._return

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step and keep the account."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._return += float(reward)
        self._length += 1
        if "success" in info:
            self._success = max(float(info["success"]), np.nan_to_num(self._success))
        if "episode_task_completions" in info:
            # Counted now, since the environment hands out a live list that its reset empties.
            self._completions = len(info["episode_task_completions"])
            self._success = float(not info["tasks_to_complete"])
        if terminated or truncated:
            outcome = {
                "score": self._final_score(),
                "return": self._return,
                "success": self._success,
                "length": self._length,
            }
            info = {**info, "outcome": outcome}
        return observation, reward, terminated, truncated, info
