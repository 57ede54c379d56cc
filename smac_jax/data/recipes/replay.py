"""The replay buffer of an online SAC run from scratch, as in D4RL's medium-replay data (arXiv 2004.07219)."""

from collections.abc import Callable

import gymnasium as gym
import jax
import jax.numpy as jnp
import minari
import numpy as np
from minari import DataCollector

from smac_jax.agent import AgentSpec, AgentState, Standardizer, act_seeds, create_agents
from smac_jax.agent.algorithms import sac
from smac_jax.data.recipes.recording import check_new_id, create_dataset
from smac_jax.data.replay import create_replay
from smac_jax.envs.collector import Collector
from smac_jax.envs.make import make_vector_env
from smac_jax.envs.tasks import find_task
from smac_jax.errors import InputError
from smac_jax.keys import episode_seed, fold_seeds, stream_keys
from smac_jax.training.online import insert_transitions, make_online_updates, to_batch

# Sized for a hundred thousand steps within minutes on a CPU.
_HIDDEN_DIMS, _LEARNING_RATE, _BATCH_SIZE = (128, 128), 1e-3, 128
_RANDOM_STEPS = 3_000


def record_replay(
    dataset_id: str,
    env_id: str = "HalfCheetah-v5",
    steps: int = 100_000,
    seed: int = 0,
    on_step: Callable[[], object] = lambda: None,
) -> minari.MinariDataset:
    """Train SAC online from scratch and record every step it takes, in order, random ones at first.

    Args:
        dataset_id: of the dataset to create.
        env_id: gymnasium id with a time limit and bounded actions.
        steps: environment steps; an episode they cut short is marked truncated.
        seed: of everything.
        on_step: called after each step.

    Raises:
        InputError: the environment cannot be used, the id is malformed, or the dataset exists already.
    """
    check_new_id(dataset_id)
    try:
        spec = gym.spec(env_id)
    except gym.error.Error as error:
        raise InputError(f"there is no environment {env_id} ({error}); check --env") from error
    task, recorders = find_task(spec), []

    def record(env: gym.Env) -> gym.Env:
        recorders.append(DataCollector(env))
        return recorders[0]

    env = make_vector_env(spec, task, 1, record)
    collector = Collector(env, [lambda episode: episode_seed(seed, "record", episode)], task.horizon(spec))
    collector.reset()
    dims = (env.single_observation_space.shape[0], env.single_action_space.shape[0])  # type: ignore[index]
    agent = AgentSpec(
        *dims,
        hidden_dims=_HIDDEN_DIMS,
        actor_learning_rate=_LEARNING_RATE,
        critic_learning_rate=_LEARNING_RATE,
        temperature_learning_rate=_LEARNING_RATE,
    )
    unscaled = Standardizer(jnp.zeros(dims[0], jnp.float32), jnp.ones(dims[0], jnp.float32))
    state = create_agents(agent, stream_keys([seed], "init"), unscaled)
    replay = create_replay(1, steps, *dims)
    updates = make_online_updates(sac(), _BATCH_SIZE, offline_fraction=0.0, updates_per_step=1)
    update_keys, act_keys = stream_keys([seed], "update"), stream_keys([seed], "act")
    random_actions = np.random.default_rng(seed)

    @jax.jit
    def explore(state: AgentState, observations: jax.Array, step: jax.Array) -> jax.Array:
        return act_seeds(state, observations, fold_seeds(act_keys, step))

    for step in range(steps):
        if step < _RANDOM_STEPS:
            actions = random_actions.uniform(-1.0, 1.0, (1, dims[1])).astype(np.float32)
        else:
            actions = np.asarray(explore(state, collector.observations, np.int32(step)))
        transitions, _ = collector.step(actions)
        replay = insert_transitions(replay, to_batch(transitions, task.reward_scale, task.reward_shift))
        if step >= _RANDOM_STEPS:
            state, _ = updates(state, replay, update_keys, None)
        on_step()
    description = (
        f"Replay buffer of soft actor-critic trained from scratch in {env_id}: its first {steps} steps in order, of "
        f"which the first {_RANDOM_STEPS} are uniformly random. Native rewards."
    )
    dataset = create_dataset(recorders[0], dataset_id, "SAC", description)
    env.close()
    return dataset
