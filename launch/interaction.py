"""What training in an environment needs besides an agent: environments, compiled calls, a replay to save."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from gymnasium.envs.registration import EnvSpec
from jax.sharding import Mesh
from ml_collections import ConfigDict

from launch.checks import check_config
from launch.session import Source, make_terms
from smac_jax.agent import AgentState, Standardizer
from smac_jax.data.replay import Replay, filled_rows
from smac_jax.data.returns import failure_value
from smac_jax.envs.collector import Collector
from smac_jax.envs.make import make_vector_env
from smac_jax.envs.tasks import Task, get_task
from smac_jax.keys import episode_seed
from smac_jax.sharding import replicate
from smac_jax.training.online import Calls, compile_calls, make_insert, make_online_updates, make_returns_writer
from smac_jax.types import Batch


class Setting(NamedTuple):
    """Where agents learn online, and from what.

    Attributes:
        dataset_id: of what they were pre-trained on.
        task: family of the environment.
        env_spec: specification of the environment.
        reward_scale: of the learner's rewards.
        standardizer: of observations; None where that of a checkpoint is restored, or there is none.
        batch: transitions of the dataset; None where no batch draws from them.
    """

    dataset_id: str
    task: Task
    env_spec: EnvSpec
    reward_scale: float
    standardizer: Standardizer | None = None
    batch: Batch | None = None


def needs_dataset(config: ConfigDict) -> bool:
    """Whether an online configuration draws from the dataset, or scales rewards by the dataset's returns."""
    return bool(config.online.offline_fraction > 0 or config.reward.normalize)


def setting_of(source: Source, config: ConfigDict) -> Setting:
    """The setting beside an open dataset, which stays off the device where no batch draws from it."""
    batch = source.data.batch if config.online.offline_fraction > 0 else None
    data = source.data
    return Setting(source.dataset_id, source.task, source.env_spec, data.reward_scale, data.standardizer, batch)


def recorded_setting(run: Mapping[str, Any], config: ConfigDict) -> Setting:
    """The setting that a pre-training's record holds, for a configuration that `needs_dataset` says can do without.

    Raises:
        InputError: see `check_config` and `get_task`.
    """
    check_config(config)
    spec = EnvSpec.from_json(run["env_spec"])
    return Setting(run["dataset"], get_task(config.task, spec), spec, config.reward.scale)


def make_collector(setting: Setting, seeds: Sequence[int]) -> Collector:
    """One training environment a seed.

    Raises:
        InputError: the environment cannot be made.
    """
    episode_seeds = [lambda episode, seed=seed: episode_seed(seed, "train", episode) for seed in seeds]
    env = make_vector_env(setting.env_spec, setting.task, len(seeds))
    return Collector(env, episode_seeds, setting.task.horizon(setting.env_spec))


def make_calls(
    config: ConfigDict,
    setting: Setting,
    agent: AgentState,
    replay: Replay,
    seeds: Sequence[int],
    mesh: Mesh | None = None,
) -> Calls:
    """Compile the calls of an environment step for an online configuration and arrays laid out over a mesh."""
    terms, online = make_terms(config), config.online
    scale, shift = setting.reward_scale, config.reward.shift
    insert = make_insert(scale, shift)
    if terms.conservative is not None and terms.conservative.calibrated:
        write_returns = make_returns_writer(terms.discount, setting.task.horizon(setting.env_spec))
        insert = make_insert(scale, shift, write_returns, failure_value(setting.task, terms.discount, scale, shift))
    updates = make_online_updates(terms, config.batch_size, online.offline_fraction, online.updates_per_step, mesh)
    data = None if setting.batch is None else replicate(setting.batch, mesh)
    return compile_calls(agent, replay, seeds, data, updates, online.exploration_noise, insert, mesh)


def filled_copy(replay: Replay) -> Replay:
    """The filled rows of a replay on the host, which later insertions leave alone."""
    return jax.tree.map(np.array, filled_rows(jax.tree.map(np.asarray, replay)))
