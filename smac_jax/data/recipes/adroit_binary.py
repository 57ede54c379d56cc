"""Adroit "binary" data: human demonstrations and roll-outs of a policy that was cloned from them.

AWAC (arXiv 2006.09359), and Cal-QL, RLPD and WSRL after it, train on files of this make-up. Those files are not
published as Minari datasets; this recipe rebuilds their kind, not their content.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import minari
import numpy as np
from minari.data_collector import EpisodeBuffer

from smac_jax.agent import AgentSpec, AgentState, Standardizer, Terms, create_agents
from smac_jax.agent.loss_terms import BehaviorCloningTerm
from smac_jax.data.minari_dataset import environment_spec, load_offline_data, open_dataset, read_episodes
from smac_jax.data.recipes.recording import (
    SuccessStep,
    check_new_id,
    record_rollouts,
    recording_env,
    remove_unless_whole,
    sampling_policy,
    simulator_versions,
)
from smac_jax.envs.make import task_spec
from smac_jax.envs.tasks import TASKS, get_task
from smac_jax.errors import InputError
from smac_jax.keys import stream_keys
from smac_jax.training.offline import make_offline_updates
from smac_jax.types import Batch

TASK = TASKS["adroit_binary"]
_HIDDEN_DIMS, _LEARNING_RATE, _BATCH_SIZE, _UPDATES = (256, 256), 3e-4, 256, 20_000
# A clone of two dozen demonstrations strays from them within a second. Noise on the observations it learns from, in
# standard deviations of the data, teaches it to return: the door's success rises from none to about 15 %.
_OBSERVATION_NOISE, _NOISED_COPIES = 0.2, 32


class _BinaryStep(SuccessStep):
    """Single-precision observations, as in the demonstrations."""

    def __call__(self, env: gym.Env, obs: Any, info: dict[str, Any], **step: Any) -> dict[str, Any]:
        return super().__call__(env, np.asarray(obs, np.float32), info, **step)


def clone_behavior(data: Batch, standardizer: Standardizer, seed: int) -> AgentState:
    """Fit a policy to a dataset's actions by maximum likelihood, on observations with added noise.

    Args:
        data: (N, ...) transitions.
        standardizer: of observations; the noise is in its units.
        seed: of parameters, batches and noise.

    Returns:
        An agent with a leading seed axis of one, of which only the actor is trained.
    """
    spec = AgentSpec(
        observation_dim=data.observations.shape[-1],
        action_dim=data.actions.shape[-1],
        hidden_dims=_HIDDEN_DIMS,
        actor_layer_norm=True,
        actor_learning_rate=_LEARNING_RATE,
    )
    copies = jax.tree.map(lambda rows: jnp.concatenate([rows] * _NOISED_COPIES), data)
    noise = np.random.default_rng(seed).normal(0.0, _OBSERVATION_NOISE, copies.observations.shape).astype(np.float32)
    copies = copies._replace(observations=copies.observations + standardizer.std * noise)
    terms = Terms(behavior_cloning=BehaviorCloningTerm(loss_type="log_prob"))
    state = create_agents(spec, stream_keys([seed], "init"), standardizer)
    return make_offline_updates(terms, _BATCH_SIZE, _UPDATES)(state, stream_keys([seed], "update"), copies)[0]


def _demonstrations(source: minari.MinariDataset) -> list[EpisodeBuffer]:
    """The source's episodes to their full length, with nothing but success in their infos."""
    return [
        EpisodeBuffer(
            observations=episode.observations,
            actions=episode.actions,
            rewards=list(episode.rewards),
            terminations=list(episode.terminations),
            truncations=list(episode.truncations),
            infos={"success": episode.infos["success"]},
        )
        for episode in read_episodes(source, TASK)
    ]


def record_adroit_binary(
    dataset_id: str,
    source: minari.MinariDataset,
    episodes: int = 500,
    seed: int = 0,
    steps: int | None = None,
    on_episode: Callable[[], object] = lambda: None,
) -> minari.MinariDataset:
    """Clone the policy of human demonstrations, roll it out, and write both as one dataset.

    Roll-outs sample the cloned policy, last for the task's horizon, and end at the first success. Demonstrations are
    kept whole, those that succeed after the horizon included.

    Args:
        dataset_id: of the dataset to create.
        source: human demonstrations in an Adroit environment, with `infos/success`.
        episodes: number of roll-outs.
        seed: of the clone, the resets and the sampled actions.
        steps: end with the first roll-out that brings them to this many steps, if that comes earlier.
        on_episode: called after each roll-out.

    Raises:
        InputError: the source is not of this kind, the id is malformed, the dataset exists already, or another process
            opened it before it was whole.
    """
    check_new_id(dataset_id)
    spec = environment_spec(source)
    if get_task(TASK.name, spec) is not TASK:
        raise InputError(
            f"{source.spec.dataset_id} was recorded in {spec.id}, which is no Adroit hand; give one that was"
        )
    data = load_offline_data(source, TASK, TASK.discount, TASK.reward_scale, TASK.reward_shift)
    demonstrations = _demonstrations(source)
    space, horizon = source.spec.observation_space, TASK.horizon(spec)
    env, recorder = recording_env(spec, TASK, step_data_callback=_BinaryStep, observation_space=space)
    clone = clone_behavior(data.batch, data.standardizer, seed)
    record_rollouts(env, sampling_policy(clone, seed, horizon), episodes, seed, steps, on_episode)
    with remove_unless_whole(dataset_id):
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            demonstrations,
            env=task_spec(spec, TASK),
            observation_space=space,
            action_space=source.spec.action_space,
            algorithm_name="human demonstrations and roll-outs of their clone",
            description=(
                f"The {source.total_episodes} human demonstrations of {source.spec.dataset_id}, whole, and after them "
                "roll-outs of a policy cloned from them by maximum likelihood on noised observations: actions sampled, "
                f"{horizon} steps at most, ended at the first success. Rewards are the environment's own. It is of the "
                'make-up of the "binary" data of AWAC, Cal-QL and RLPD (demonstrations and 500 roll-outs of a clone), '
                "and is not their files, which were made with another clone."
            ),
            requirements=simulator_versions(),
        )
        recorder.add_to_dataset(dataset)
    env.close()
    return open_dataset(dataset_id)
