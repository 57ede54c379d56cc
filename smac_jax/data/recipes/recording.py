"""What the recipes share: checking a new id, environments that record themselves, and roll-outs."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import jax
import minari
import numpy as np
from gymnasium.envs.registration import EnvSpec
from minari import DataCollector, StepDataCallback
from minari.dataset.minari_dataset import parse_dataset_id
from minari.storage import get_dataset_path
from minari.storage.local import list_local_datasets

from smac_jax.agent import AgentState, act_seeds
from smac_jax.envs.make import make_env
from smac_jax.envs.tasks import Task, reference_returns
from smac_jax.errors import InputError
from smac_jax.keys import episode_seed, fold_seeds, stream_keys

Policy = Callable[[Any, int, int], np.ndarray]
"""Action (A,) for an observation at a step of an episode: `policy(observation, episode, step)`."""


def check_new_id(dataset_id: str) -> None:
    """Check that a dataset can be created, before time is spent on its content.

    Raises:
        InputError: the id is malformed, or the dataset exists already.
    """
    try:
        parse_dataset_id(dataset_id)
    except (TypeError, ValueError) as error:
        raise InputError(f"{dataset_id} is no Minari id; write --output=NAMESPACE/NAME-v0") from error
    if dataset_id in list_local_datasets():
        raise InputError(f"the dataset {dataset_id} exists already; choose another --output, or delete it")


@contextmanager
def remove_unless_whole(dataset_id: str) -> Iterator[None]:
    """Delete a new dataset where writing it fails on the way: the part of it would pass for the whole.

    Raises:
        InputError: its file could not be opened, as another process reads it.
    """
    try:
        yield
    except BaseException as error:
        shutil.rmtree(get_dataset_path(dataset_id), ignore_errors=True)
        if isinstance(error, BlockingIOError):
            raise InputError(
                f"another process opened {dataset_id} before it was whole; make it again, and read it when it is made"
            ) from error
        raise


class SuccessStep(StepDataCallback):
    """Of a step's infos success alone, with an entry for the reset, which reports none."""

    def __call__(self, env: gym.Env, obs: Any, info: dict[str, Any], **step: Any) -> dict[str, Any]:
        """One record of a step or a reset."""
        return dict(super().__call__(env, obs, {"success": bool(info.get("success", False))}, **step))


def recording_env(spec: EnvSpec, task: Task, **options: Any) -> tuple[gym.Env, DataCollector]:
    """A task's environment and the recorder of its native observations, actions and rewards inside it.

    Success is recorded, too, where the family's datasets need it.

    Args:
        spec: specification of the environment.
        task: its family.
        options: of the recorder.

    Raises:
        InputError: see `make_env`.
    """
    recorders: list[DataCollector] = []
    if task.records_success:
        options = {"step_data_callback": SuccessStep, "record_infos": True, **options}

    def record(env: gym.Env) -> gym.Env:
        recorders.append(DataCollector(env, **options))
        return recorders[0]

    return make_env(spec, task, record), recorders[0]


def sampling_policy(state: AgentState, seed: int, horizon: int, exploration_noise: float | None = None) -> Policy:
    """Policy of random actions.

    Args:
        state: agents with a leading seed axis S, which take turns: episode k is played by agent k mod S.
        seed: of the sampled actions.
        horizon: longest episode in steps.
        exploration_noise: see `smac_jax.agent.act`; None samples the policy.
    """
    keys = stream_keys([seed], "act")
    count = jax.tree.leaves(state.actor.params)[0].shape[0]
    agents = [jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], state.replace(step=None)) for i in range(count)]

    @jax.jit
    def sample(agent: AgentState, observation: jax.Array, counter: jax.Array) -> jax.Array:
        return act_seeds(agent, observation[None], fold_seeds(keys, counter), exploration_noise)[0]

    def policy(observation: np.ndarray, episode: int, step: int) -> np.ndarray:
        return np.asarray(sample(agents[episode % count], observation, np.int32(episode * horizon + step)))

    return policy


def record_rollouts(
    env: gym.Env, policy: Policy, episodes: int, seed: int, steps: int | None, on_episode: Callable[[], object]
) -> None:
    """Run a policy in an environment that records itself.

    Args:
        env: with a DataCollector somewhere inside.
        policy: see `Policy`.
        episodes: at most.
        seed: of the resets.
        steps: end with the first episode that reaches this many steps, if that comes earlier.
        on_episode: called after each episode.
    """
    recorded = 0
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode_seed(seed, "record", episode))
        step, done = 0, False
        while not done:
            observation, _, terminated, truncated, _ = env.step(policy(observation, episode, step))
            done = terminated or truncated
            step += 1
        recorded += step
        on_episode()
        if steps is not None and recorded >= steps:
            return


def simulator_versions() -> list[str]:
    """Requirements for Minari's record: dynamics differ between versions of the simulator."""
    return [f"{name}=={version(name)}" for name in ("mujoco", "gymnasium-robotics")]


def create_dataset(recorder: DataCollector, dataset_id: str, algorithm: str, description: str) -> minari.MinariDataset:
    """Write what was recorded, with D4RL's reference returns where they exist.

    Raises:
        InputError: Minari cannot create the dataset.
    """
    assert recorder.spec is not None, "environments are made from specifications"
    low, high = reference_returns(recorder.spec.id) or (None, None)
    try:
        return recorder.create_dataset(
            dataset_id,
            algorithm_name=algorithm,
            description=description,
            ref_min_score=low,
            ref_max_score=high,
            requirements=simulator_versions(),
        )
    except ValueError as error:
        raise InputError(f"cannot create {dataset_id} ({error}); choose another --output") from error
