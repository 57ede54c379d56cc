"""What tests of the recipes read from a recorded dataset."""

import jax
import numpy as np

from smac_jax.data.minari_dataset import environment_spec, hash_episodes, read_episodes
from smac_jax.envs.tasks import find_task
from smac_jax.keys import episode_seed


def episodes_of(dataset):
    return read_episodes(dataset, find_task(environment_spec(dataset)))


def all_actions(dataset):
    return np.concatenate([episode.actions for episode in episodes_of(dataset)])


def content_hash(dataset):
    return hash_episodes(episodes_of(dataset))


def lengths(dataset):
    return [len(episode.rewards) for episode in episodes_of(dataset)]


def assert_repeats(dataset, env, seed=0, skipped=0):
    """The recipe's seeds and the stored actions give the stored observations and rewards again in an environment."""
    for number, episode in enumerate(list(dataset.iterate_episodes())[skipped:]):
        observations, rewards = [env.reset(seed=episode_seed(seed, "record", number))[0]], []
        for action in episode.actions:
            observation, reward, *_ = env.step(action)
            observations.append(observation)
            rewards.append(reward)
        for live, recorded in zip(
            jax.tree.leaves(jax.tree.map(lambda *rows: np.stack(rows), *observations)),
            jax.tree.leaves(episode.observations),
            strict=True,
        ):
            np.testing.assert_allclose(live, recorded, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(rewards, episode.rewards, rtol=1e-6)
