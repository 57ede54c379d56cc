import copy
import functools

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recorded import all_actions, assert_repeats, content_hash, episodes_of, lengths

from smac_jax.agent import AgentSpec, Standardizer, act_seeds, create_agents
from smac_jax.data.describe import describe
from smac_jax.data.minari_dataset import environment_spec, load_offline_data
from smac_jax.data.recipes import recording
from smac_jax.data.recipes.rollout import record_rollout
from smac_jax.envs.make import task_spec
from smac_jax.envs.tasks import TASKS, find_task
from smac_jax.keys import stream_keys

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

BINARY = TASKS["adroit_binary"]


@functools.cache
def opposite_agents():
    """Two agents for Pendulum, one that pushes to the left and one that pushes to the right."""
    unscaled = Standardizer(jnp.zeros(3), jnp.ones(3))
    state = create_agents(AgentSpec(3, 1, hidden_dims=(8,)), stream_keys([0, 1], "init"), unscaled)
    params = jax.tree.map(jnp.zeros_like, state.actor.params)
    params["params"]["mean"]["bias"] = jnp.array([[-0.5], [0.5]])
    params["params"]["log_std"]["bias"] = jnp.full((2, 1), -3.0)
    return state.replace(actor=state.actor.replace(params=params))


def short_pendulum(steps=10):
    spec = copy.deepcopy(gym.spec("Pendulum-v1"))
    spec.max_episode_steps = steps
    return spec


def roll_out(dataset_id, **options):
    spec = short_pendulum()
    return record_rollout(dataset_id, opposite_agents(), spec, find_task(spec), "two toys", **options)


def test_agents_take_turns_in_a_rollout(minari_path):
    calls = []
    dataset = roll_out("pendulum/new-v0", episodes=5, on_episode=lambda: calls.append(0))
    assert len(calls) == 5
    assert lengths(dataset) == [10] * 5
    means = [episode.actions.mean() for episode in episodes_of(dataset)]
    # tanh(0.5), in the environment's own units.
    np.testing.assert_allclose(means, [-0.924, 0.924, -0.924, 0.924, -0.924], atol=0.1)
    # Every action of every episode is a draw of its own.
    assert len(np.unique(np.abs(all_actions(dataset)))) == 50
    assert_repeats(dataset, gym.make("Pendulum-v1"))
    assert "Actions of two toys, sampled, in Pendulum-v1" in dataset.storage.metadata["description"]
    assert environment_spec(dataset).max_episode_steps == 10


def test_deterministic_policy_is_rolled_out_with_noise_on_its_mode(minari_path):
    # The toys' own spread, 0.1 before the tanh, must not show.
    noised = episodes_of(roll_out("pendulum/noised-v0", episodes=2, exploration_noise=0.01))
    for episode, sign in zip(noised, (-1.0, 1.0), strict=True):
        np.testing.assert_allclose(episode.actions / 2.0, sign * np.tanh(0.5), atol=0.05)
        assert 0.002 < np.std(episode.actions / 2.0) < 0.03


def test_rollout_in_a_task_of_successes_records_them_and_can_be_trained_on(minari_path):
    spec = task_spec(gym.spec("AdroitHandPenSparse-v1"), BINARY)
    unscaled = Standardizer(jnp.zeros(45), jnp.ones(45))
    agents = create_agents(AgentSpec(45, 24, hidden_dims=(8,)), stream_keys([0], "init"), unscaled)
    dataset = record_rollout("pen/rolled-v0", agents, spec, BINARY, "a toy", episodes=6)
    for episode in episodes_of(dataset):
        np.testing.assert_array_equal(episode.infos["success"], [False, *(episode.rewards > 0)])
    described = describe(dataset)
    assert not described.problems
    assert described.success == np.mean(described.scores) > 0
    data = load_offline_data(dataset, BINARY, BINARY.discount, BINARY.reward_scale, BINARY.reward_shift)
    assert np.sum(data.batch.masks == 0) == np.sum(described.scores)


def test_rollout_is_a_function_of_its_seed_and_stops_at_the_steps(minari_path):
    first = roll_out("pendulum/first-v0", episodes=3, seed=3)
    assert content_hash(roll_out("pendulum/again-v0", episodes=3, seed=3)) == content_hash(first)
    other = episodes_of(roll_out("pendulum/other-v0", episodes=3, seed=4))
    assert not np.array_equal(other[0].observations[0], episodes_of(first)[0].observations[0])
    assert not np.any(other[0].actions == episodes_of(first)[0].actions)
    assert lengths(roll_out("pendulum/cut-v0", episodes=3, seed=3, steps=11)) == [10, 10]


def test_sampling_policy_draws_from_the_agents_own_distribution():
    observation = np.array([0.3, -0.4, 2.0], np.float32)
    keys = jax.random.split(jax.random.key(0), 2)
    direct = np.asarray(act_seeds(opposite_agents(), np.tile(observation, (2, 1000, 1)), keys))
    policy = recording.sampling_policy(opposite_agents(), seed=0, horizon=500)
    for agent in range(2):
        # The episodes of one agent.
        sampled = [policy(observation, episode, step) for episode in (agent, agent + 2) for step in range(500)]
        assert np.mean(sampled) == pytest.approx(direct[agent].mean(), abs=0.01)
        assert np.std(sampled) == pytest.approx(direct[agent].std(), rel=0.1)
