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


def task_spec(spec: EnvSpec, task: Task) -> EnvSpec:
    """The recorded specification with the task's horizon and arguments."""
    spec = copy.deepcopy(spec)
    spec.max_episode_steps = task.horizon(spec)
    spec.kwargs = {**spec.kwargs, **task.env_kwargs}
    # The checker costs time at every step and its warnings concern the environment's authors.
    spec.disable_env_checker = True
    return spec


def make_env(spec: EnvSpec, task: Task, record: Callable[[gym.Env], gym.Env] = lambda env: env) -> gym.Env:
    """Make the environment of a task.

    Args:
        spec: as recorded in a dataset.
        task: its family.
        record: wrapper around the native environment, below all others, such as Minari's DataCollector.

    Returns:
        An environment with float32 vectors as observations, actions in [-1, 1], the task's rewards and
        terminations, and `info["outcome"]` at the end of each episode.

    Raises:
        InputError: the environment cannot be made, or its observations or actions are of another kind.
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
