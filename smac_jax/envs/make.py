"""From a recorded environment specification to a live, wrapped environment."""

import copy
from collections.abc import Callable

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from smac_jax.envs.register import register_robotics
from smac_jax.envs.tasks import Task
from smac_jax.envs.wrappers import EpisodeOutcome, FlatObservation
from smac_jax.errors import InputError

register_robotics()

# Of the width: bounds that differ by rounding alone, such as of float32 and float64, are the same.
_BOUND_TOLERANCE = 1e-4


def task_spec(spec: EnvSpec, task: Task) -> EnvSpec:
    """The recorded specification with the task's horizon and arguments."""
    spec = copy.deepcopy(spec)
    spec.max_episode_steps = task.horizon(spec)
    spec.kwargs = {**spec.kwargs, **task.env_kwargs}
    # The checker costs time at every step and its warnings concern the environment's authors.
    spec.disable_env_checker = True
    return spec


def _check_bounds(recorded: gym.Space, box: gym.spaces.Box, env_id: str) -> None:
    """Refuse recorded actions that the live environment would understand in other units."""
    # Of other kinds of spaces the dataset's own check says more.
    if not isinstance(recorded, gym.spaces.Box) or not recorded.is_bounded():
        return
    if recorded.shape != box.shape:
        raise InputError(
            f"the dataset records actions of shape {recorded.shape} and {env_id} takes {box.shape}; record it in the "
            "environment that its specification makes"
        )
    ours, theirs = (np.stack([space.low, space.high]).astype(np.float64) for space in (recorded, box))
    differs = np.any(np.abs(ours - theirs) > _BOUND_TOLERANCE * (theirs[1] - theirs[0]), axis=0)
    if differs.any():
        first = int(np.argmax(differs))
        (low, high), (live_low, live_high) = ours[:, first], theirs[:, first]
        raise InputError(
            f"the dataset records action {first} in [{low:g}, {high:g}] and {env_id} takes it in "
            f"[{live_low:g}, {live_high:g}], so that recorded actions would be executed as others; record them in the "
            "environment's units and with its action space, or with the wrapper that rescales them in its specification"
        )


def make_env(
    spec: EnvSpec,
    task: Task,
    record: Callable[[gym.Env], gym.Env] = lambda env: env,
    recorded_actions: gym.Space | None = None,
) -> gym.Env:
    """Make the environment of a task.

    Args:
        spec: as recorded in a dataset.
        task: its family.
        record: wrapper around the native environment, below all others, such as Minari's DataCollector.
        recorded_actions: the dataset's action space, whose bounds the environment must share; None without a dataset.

    Returns:
        An environment with float32 vectors as observations, actions in [-1, 1], the task's rewards and
        terminations, and `info["outcome"]` at the end of each episode.

    Raises:
        InputError: the environment cannot be made, its observations or actions are of another kind, or the bounds of
            its actions are not the recorded ones.
    """
    try:
        env = gym.make(task_spec(spec, task))
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"cannot make the environment {spec.id}: {reason[0]}; install what it needs, or run from the folder "
            "that its file arguments are relative to"
        ) from error
    env = record(env)
    for wrapper in task.wrappers:
        env = wrapper(env)
    env = EpisodeOutcome(env, task.score, spec.id)
    try:
        env = FlatObservation(env, task.observation_keys)
    except (TypeError, KeyError) as error:
        raise InputError(
            f"{spec.id} has observations that the task {task.name} cannot read ({error}); choose the task that fits"
        ) from error
    box = env.action_space
    if not isinstance(box, gym.spaces.Box) or not box.is_bounded():
        raise InputError(f"{spec.id} has the action space {box}; a bounded Box is needed")
    if recorded_actions is not None:
        _check_bounds(recorded_actions, box, spec.id)
    if not (np.all(box.low == -1.0) and np.all(box.high == 1.0)):
        env = gym.wrappers.RescaleAction(env, np.float32(-1.0), np.float32(1.0))
    return env


def make_vector_env(
    spec: EnvSpec, task: Task, count: int, record: Callable[[gym.Env], gym.Env] = lambda env: env
) -> gym.vector.SyncVectorEnv:
    """Vector environment of `make_env`'s, whose members are reset by hand, each with a seed of its own.

    Explicit seeds make every episode a function of (seed, actions), which is what resuming and comparing rest on.
    """
    return gym.vector.SyncVectorEnv(
        [lambda: make_env(spec, task, record)] * count, autoreset_mode=gym.vector.AutoresetMode.DISABLED
    )
