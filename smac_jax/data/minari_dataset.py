"""Minari datasets as one batch of transitions on the device."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import jax
import jax.numpy as jnp
import minari
import numpy as np
from gymnasium.envs.registration import EnvSpec
from minari.storage.local import list_local_datasets

from smac_jax.agent.state import Standardizer
from smac_jax.data.returns import learner_returns, look_ahead
from smac_jax.envs.episode import Episode, flat_space, flatten_observation
from smac_jax.envs.tasks import Task
from smac_jax.errors import InputError
from smac_jax.types import Batch, Lookahead

_BOUND_TOLERANCE = 1e-4
_MIN_STD = 1e-3


class OfflineData(NamedTuple):
    """A dataset ready for training.

    Attributes:
        batch: all N transitions on the device, rewards scaled and shifted.
        standardizer: of observations, from all N observations.
        episodes: number of episodes.
        reward_scale: in force: the given one, normalised by the returns where that is asked for.
        content_hash: SHA-256 of the recorded arrays before any relabelling.
    """

    batch: Batch
    standardizer: Standardizer
    episodes: int
    reward_scale: float
    content_hash: str


def open_dataset(dataset_id: str, download: bool = False) -> minari.MinariDataset:
    """Open a local Minari dataset, or download it on request.

    Raises:
        InputError: the dataset is not there, cannot be read, or names no environment.
    """
    try:
        dataset = minari.load_dataset(dataset_id, download=download)
    except Exception as error:
        local = ", ".join(list_local_datasets()) or "none"
        remedy = "check the id and the network" if download else "pass --download, or set MINARI_DATASETS_PATH"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"cannot open the dataset {dataset_id!r} ({reason}); {remedy} (local: {local})") from error
    if dataset.spec.env_spec is None:
        raise InputError(f"{dataset_id} names no environment; record it with minari's DataCollector")
    return dataset


def environment_spec(dataset: minari.MinariDataset) -> EnvSpec:
    """The environment's specification as recorded."""
    spec = dataset.spec.env_spec
    assert spec is not None, "open_dataset admits no dataset without one"
    return spec


def _check_types(data: Any, where: str) -> None:
    """Refuse arrays of anything but numbers and flags; conversion might make numbers of them silently."""
    fields = {name: getattr(data, name) for name in ("observations", "actions", "rewards")}
    flags = {name: getattr(data, name) for name in ("terminations", "truncations")}
    success = {"infos/success": data.infos["success"]} if "success" in (data.infos or {}) else {}
    for name, tree in {**fields, **flags, **success}.items():
        for values in map(np.asarray, jax.tree.leaves(tree, is_leaf=lambda leaf: isinstance(leaf, list))):
            if not (np.issubdtype(values.dtype, np.number) or values.dtype == bool):
                raise InputError(f"{where} has {name} of type {values.dtype}; numbers are needed, re-record it")


def read_episode(data: Any, task: Task, box: gym.spaces.Box, observation_dim: int, where: str) -> Episode:
    """Flatten one recorded episode and check everything the learner relies on.

    Args:
        data: Minari's record of the episode.
        task: family of its environment.
        box: action space, and
        observation_dim: O, both from `check_spaces`.
        where: names the episode in messages.

    Raises:
        InputError: a field is missing, empty, of the wrong type or shape, not finite, or out of bounds.
    """
    _check_types(data, where)
    try:
        observations = flatten_observation(data.observations, task.observation_keys)
        actions = np.asarray(data.actions)
        rewards, flags = np.asarray(data.rewards), (data.terminations, data.truncations)
        terminations, truncations = (np.asarray(flag, dtype=bool) for flag in flags)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where} has fields that cannot be read ({error}); re-record it") from error
    if rewards.ndim != 1:
        raise InputError(f"{where} has rewards of shape {rewards.shape}, one a step is needed; re-record it")
    steps = len(rewards)
    if steps == 0:
        raise InputError(f"{where} is empty; filter it out with MinariDataset.filter_episodes")
    expected = {
        "observations": (observations, (steps + 1, observation_dim)),
        "actions": (actions, (steps, *box.shape)),
        "rewards": (rewards, (steps,)),
        "terminations": (terminations, (steps,)),
        "truncations": (truncations, (steps,)),
    }
    for name, (values, shape) in expected.items():
        if values.shape != shape:
            raise InputError(f"{where} has {name} of shape {values.shape} instead of {shape}; re-record it")
    ends = np.flatnonzero(terminations | truncations)
    if len(ends) and ends[0] != steps - 1:
        raise InputError(f"{where} goes on after a termination or truncation at step {ends[0]}; split it there")
    for name, values in (("observations", observations), ("actions", actions), ("rewards", rewards)):
        if not np.all(np.isfinite(values)):
            raise InputError(f"{where} has NaN or infinite {name}; remove the episode or re-record it")
    excess = np.maximum(box.low - actions, actions - box.high)
    if np.any(excess > _BOUND_TOLERANCE * (box.high - box.low)):
        raise InputError(
            f"{where} has actions outside the action space (by {excess.max():.2g}); clip them to "
            f"[{box.low.min():g}, {box.high.max():g}] when recording"
        )
    goals = None
    if isinstance(data.observations, Mapping) and {"achieved_goal", "desired_goal"} <= data.observations.keys():
        goals = (data.observations["achieved_goal"], data.observations["desired_goal"])
    return Episode(observations, actions, rewards, terminations, truncations, data.infos or {}, goals)


def check_spaces(dataset: minari.MinariDataset, task: Task) -> tuple[gym.spaces.Box, int]:
    """The action space and the flattened observation's dimension O of a dataset.

    Raises:
        InputError: actions or observations are not bounded vectors and vectors, or there are no episodes.
    """
    name = dataset.spec.dataset_id
    box = dataset.spec.action_space
    if not isinstance(box, gym.spaces.Box) or not box.is_bounded() or len(box.shape) != 1:
        raise InputError(f"{name} has the action space {box}; a bounded Box of rank 1 is needed")
    if np.any(box.low >= box.high):
        raise InputError(f"{name} has an action dimension of no width; leave it out of the action space")
    try:
        observation_dim = flat_space(dataset.spec.observation_space, task.observation_keys).shape[0]
    except (TypeError, KeyError) as error:
        raise InputError(
            f"{name} has observations that the task {task.name} cannot read ({error}); choose the task that fits"
        ) from error
    if dataset.total_episodes == 0:
        raise InputError(f"{name} has no episodes; record some, or check the id")
    return box, observation_dim


def iterate_records(dataset: minari.MinariDataset) -> Iterator[tuple[str, Any]]:
    """Minari's record of each episode, with the name it has in messages.

    Raises:
        InputError: a field is missing, or the file is damaged; no later episode can be read then.
    """
    name, number = dataset.spec.dataset_id, 0
    try:
        for data in dataset.iterate_episodes():
            yield f"{name} episode {number}", data
            number += 1
    except KeyError as error:
        raise InputError(f"{name} episode {number} lacks a field ({error}); re-record it") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error}); download or record it again") from error


def read_episodes(dataset: minari.MinariDataset, task: Task) -> list[Episode]:
    """Read, flatten and validate every episode, as recorded.

    Raises:
        InputError: see `check_spaces`, `iterate_records` and `read_episode`.
    """
    box, observation_dim = check_spaces(dataset, task)
    return [read_episode(data, task, box, observation_dim, where) for where, data in iterate_records(dataset)]


def relabel_episode(episode: Episode, task: Task, spec: EnvSpec, where: str) -> Episode:
    """An episode in the task's convention.

    Raises:
        InputError: its rewards contradict the convention; the message begins with `where`.
    """
    try:
        return task.relabel(episode, spec)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def hash_episodes(episodes: list[Episode]) -> str:
    """SHA-256 over observations, actions, rewards, flags and, where recorded, success of all episodes, in order."""
    digest = hashlib.sha256()
    for episode in episodes:
        # Success counts as data: binary rewards are made from it.
        success = [np.asarray(episode.infos["success"])] if "success" in episode.infos else []
        for values in (*episode[:5], *success):
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def make_standardizer(observations: np.ndarray) -> Standardizer:
    """Standardiser of observations (N, O); a dimension that hardly varies is centred but not scaled."""
    std = observations.std(axis=0, dtype=np.float64)
    std[std < _MIN_STD] = 1.0
    mean = observations.mean(axis=0, dtype=np.float64)
    return Standardizer(jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32))


def _return_range(episodes: list[Episode], name: str) -> float:
    returns = [episode.rewards.sum() for episode in episodes]
    if max(returns) <= min(returns):
        raise InputError(f"all episodes of {name} have the same return, by whose range rewards cannot be normalised")
    return float(max(returns) - min(returns))


def load_offline_data(
    dataset: minari.MinariDataset,
    task: Task,
    discount: float,
    reward_scale: float,
    reward_shift: float,
    normalize: bool = False,
    lookahead: int = 1,
    lead: int = 0,
) -> OfflineData:
    """Turn a dataset into transitions on the device.

    Args:
        dataset: opened by `open_dataset`.
        task: family of the dataset's environment; relabels rewards and terminations.
        discount: gamma of the Monte-Carlo returns, and of the lookahead.
        reward_scale: learner's reward = scale * reward + shift.
        reward_shift: see `reward_scale`.
        normalize: multiply the scale by 1000 / (largest - smallest return), as IQL does on locomotion.
        lookahead: steps that the batch looks ahead; with 1 it has no `Lookahead`.
        lead: steps after which its later actions were recorded; with 0 it has none.

    Returns:
        Transitions and what goes with them. Time-outs are not terminal: their mask stays 1.

    Raises:
        InputError: see `read_episodes` and the task's relabelling.
    """
    recorded = read_episodes(dataset, task)
    spec, box = environment_spec(dataset), dataset.spec.action_space
    assert isinstance(box, gym.spaces.Box)
    names = ("observations", "actions", "rewards", "masks", "next_observations", "mc_returns")
    columns: dict[str, list[np.ndarray]] = {name: [] for name in (*names, *(["later_actions"] if lead > 0 else []))}
    aheads: list[tuple[np.ndarray, ...]] = []
    relabelled = [
        relabel_episode(episode, task, spec, f"{dataset.spec.dataset_id} episode {index}")
        for index, episode in enumerate(recorded)
    ]
    if normalize:
        reward_scale *= 1000.0 / _return_range(relabelled, dataset.spec.dataset_id)
    for episode in relabelled:
        actions = np.clip(2.0 * (episode.actions - box.low) / (box.high - box.low) - 1.0, -1.0, 1.0)
        columns["observations"].append(episode.observations[:-1])
        columns["actions"].append(actions)
        if lead > 0:
            columns["later_actions"].append(actions[np.minimum(np.arange(len(actions)) + lead, len(actions) - 1)])
        rewards = reward_scale * episode.rewards + reward_shift
        columns["rewards"].append(rewards)
        columns["masks"].append(1.0 - episode.terminations)
        columns["next_observations"].append(episode.observations[1:])
        columns["mc_returns"].append(learner_returns(episode, task, discount, reward_scale, reward_shift))
        if lookahead > 1:
            terminated = bool(episode.terminations[-1])
            aheads.append(look_ahead(rewards, episode.observations, terminated, discount, lookahead))
    arrays = {name: np.concatenate(column).astype(np.float32) for name, column in columns.items()}
    ahead = None
    if aheads:
        ahead = Lookahead(*(jnp.asarray(np.concatenate(parts), jnp.float32) for parts in zip(*aheads, strict=True)))
    batch: dict[str, Any] = {name: jnp.asarray(array) for name, array in arrays.items()}
    return OfflineData(
        batch=Batch(**batch, lookahead=ahead),
        standardizer=make_standardizer(arrays["observations"]),
        episodes=len(recorded),
        reward_scale=reward_scale,
        content_hash=hash_episodes(recorded),
    )
