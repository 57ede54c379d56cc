"""One recorded episode, and the flattening of its observations."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from gymnasium import spaces


class Episode(NamedTuple):
    """A recorded episode of T steps.

    Attributes:
        observations: (T + 1, O) float32, flattened.
        actions: (T, A) in the environment's own units.
        rewards: (T,) as recorded.
        terminations: (T,) bool.
        truncations: (T,) bool.
        infos: arrays of T + 1 entries; entry t + 1 belongs to action t.
        goals: achieved and desired goal of goal-conditioned observations, (T + 1, ...) or trees of such, as recorded;
            None where there are none.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminations: np.ndarray
    truncations: np.ndarray
    infos: Mapping[str, Any]
    goals: tuple[Any, Any] | None = None

    def cut(self, length: int, terminated: bool) -> "Episode":
        """The first `length` steps; the last one is marked terminated, or else truncated."""
        last = np.arange(length) == length - 1
        return Episode(
            self.observations[: length + 1],
            self.actions[:length],
            self.rewards[:length],
            last & terminated,
            last & (not terminated),
            {name: values[: length + 1] for name, values in self.infos.items()},
            jax.tree.map(lambda values: values[: length + 1], self.goals),
        )


def flatten_observation(observation: Any, keys: Sequence[str] = ()) -> np.ndarray:
    """Flatten a recorded or live observation to float32 along its last axis.

    Dict observations are concatenated in the order of `keys`; without keys, and at every deeper level, in
    alphabetical order (the order of gymnasium's own Dict spaces). Leading axes are kept.
    """
    if isinstance(observation, Mapping):
        names = keys or sorted(observation)
        return np.concatenate([flatten_observation(observation[name]) for name in names], axis=-1)
    return np.asarray(observation, dtype=np.float32)


def flat_space(space: spaces.Space, keys: Sequence[str] = ()) -> spaces.Box:
    """The Box that `flatten_observation` maps a Box or (nested) Dict space of rank-1 boxes to.

    Raises:
        TypeError: the space holds anything but rank-1 boxes.
        KeyError: one of `keys` is not in the Dict space.
    """
    if isinstance(space, spaces.Dict):
        boxes = [flat_space(space[name]) for name in (keys or sorted(space.spaces))]
        low = np.concatenate([box.low for box in boxes])
        high = np.concatenate([box.high for box in boxes])
        return spaces.Box(low, high, dtype=np.float32)
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise TypeError(f"observations must be vectors or dictionaries of vectors, not {space}")
    return spaces.Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)
