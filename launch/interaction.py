"""What training in an environment needs besides an agent: environments, compiled calls, a replay to save."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from launch.session import Source, make_terms
from smac_jax.agent import AgentState
from smac_jax.data.replay import Replay, filled_rows
from smac_jax.data.returns import failure_value
from smac_jax.envs.collector import Collector
from smac_jax.envs.make import make_vector_env
from smac_jax.keys import episode_seed
from smac_jax.sharding import replicate
from smac_jax.training.online import Calls, compile_calls, make_insert, make_online_updates, make_returns_writer


def make_collector(source: Source, seeds: Sequence[int]) -> Collector:
    """One training environment a seed.

    Raises:
        InputError: the environment cannot be made.
    """
    episode_seeds = [lambda episode, seed=seed: episode_seed(seed, "train", episode) for seed in seeds]
    env = make_vector_env(source.env_spec, source.task, len(seeds))
    return Collector(env, episode_seeds, source.task.horizon(source.env_spec))


def make_calls(
    config: ConfigDict,
    source: Source,
    agent: AgentState,
    replay: Replay,
    seeds: Sequence[int],
    mesh: Mesh | None = None,
) -> Calls:
    """Compile the calls of an environment step for an online configuration and arrays laid out over a mesh."""
    terms, online = make_terms(config), config.online
    scale, shift = source.data.reward_scale, config.reward.shift
    insert = make_insert(scale, shift)
    if terms.conservative is not None and terms.conservative.calibrated:
        write_returns = make_returns_writer(terms.discount, source.task.horizon(source.env_spec))
        insert = make_insert(scale, shift, write_returns, failure_value(source.task, terms.discount, scale, shift))
    updates = make_online_updates(terms, config.batch_size, online.offline_fraction, online.updates_per_step, mesh)
    # A dataset of gigabytes stays off the device where no batch draws from it.
    data = replicate(source.data.batch, mesh) if online.offline_fraction > 0 else None
    return compile_calls(agent, replay, seeds, data, updates, online.exploration_noise, insert, mesh)


def filled_copy(replay: Replay) -> Replay:
    """The filled rows of a replay on the host, which later insertions leave alone."""
    return jax.tree.map(np.array, filled_rows(jax.tree.map(np.asarray, replay)))
