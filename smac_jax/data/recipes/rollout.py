"""Roll-outs of a trained policy, as in D4RL's medium and expert data (arXiv 2004.07219)."""

from collections.abc import Callable

import minari
from gymnasium.envs.registration import EnvSpec

from smac_jax.agent import AgentState
from smac_jax.data.recipes.recording import (
    check_new_id,
    create_dataset,
    record_rollouts,
    recording_env,
    sampling_policy,
)
from smac_jax.envs.tasks import Task


def record_rollout(
    dataset_id: str,
    state: AgentState,
    spec: EnvSpec,
    task: Task,
    origin: str,
    exploration_noise: float | None = None,
    episodes: int = 100,
    seed: int = 0,
    steps: int | None = None,
    on_episode: Callable[[], object] = lambda: None,
) -> minari.MinariDataset:
    """Record the actions of a policy in its environment.

    Args:
        dataset_id: of the dataset to create.
        state: agents with a leading seed axis S, which take turns: episode k is played by agent k mod S.
        spec: specification of the environment.
        task: its family.
        origin: what the policy is, for the description.
        exploration_noise: spread of the noise on the policy's mode; None samples the policy.
        episodes: number of episodes.
        seed: of resets and sampled actions.
        steps: end with the first episode that brings the dataset to this many steps, if that comes earlier.
        on_episode: called after each episode.

    Raises:
        InputError: the environment cannot be made, the id is malformed, or the dataset exists already.
    """
    check_new_id(dataset_id)
    env, recorder = recording_env(spec, task)
    policy = sampling_policy(state, seed, task.horizon(spec), exploration_noise)
    record_rollouts(env, policy, episodes, seed, steps, on_episode)
    how = "sampled" if exploration_noise is None else f"the mode with noise of spread {exploration_noise:g}"
    description = f"Actions of {origin}, {how}, in {spec.id}. Native rewards."
    dataset = create_dataset(recorder, dataset_id, origin, description)
    env.close()
    return dataset
