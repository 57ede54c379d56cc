"""What a dataset is, how the task table reads it, and what stands in the way of training on it."""

from collections.abc import Sequence
from typing import NamedTuple

import minari
import numpy as np
from gymnasium.envs.registration import EnvSpec

from smac_jax.data.minari_dataset import (
    check_spaces,
    environment_spec,
    iterate_records,
    read_episode,
    relabel_episode,
)
from smac_jax.data.returns import learner_returns
from smac_jax.envs.episode import Episode
from smac_jax.envs.make import make_env
from smac_jax.envs.tasks import GENERIC, Task, find_task, normalized_score
from smac_jax.errors import InputError

_MOST_PROBLEMS = 5


class Description(NamedTuple):
    """A dataset in figures.

    Attributes:
        dataset_id: Minari's id.
        source: what Minari's record names as the algorithm.
        env_id: gymnasium id.
        task: family in the task table.
        convention: reward and end after relabelling, with the learner's scale and shift.
        horizon: time limit at evaluation, in steps; None where the environment has none.
        episodes: recorded.
        steps: recorded.
        lengths: of the recorded episodes.
        returns: sums of the recorded rewards.
        values: discounted return from each step on, in the learner's reward, with the task's discount.
        scores: of the recorded episodes by the task's rule.
        terminated: episodes that end by termination, as recorded.
        truncated: episodes that end by truncation, as recorded.
        success: share of episodes that record a success; None where none is recorded.
        action_range: lowest and highest recorded action.
        action_bounds: lowest and highest action of the action space.
        problems: what training would refuse.
        notices: what training does that may surprise.
    """

    dataset_id: str
    source: str
    env_id: str
    task: str
    convention: str
    horizon: int | None
    episodes: int
    steps: int
    lengths: np.ndarray
    returns: np.ndarray
    values: np.ndarray
    scores: np.ndarray
    terminated: int
    truncated: int
    success: float | None
    action_range: tuple[float, float]
    action_bounds: tuple[float, float]
    problems: tuple[str, ...]
    notices: tuple[str, ...]


def recorded_score(episode: Episode, task: Task, spec: EnvSpec) -> float:
    """Score of a relabelled episode by the rule that `envs.wrappers.EpisodeOutcome` applies to live ones."""
    if task.score == "success":
        return float(np.any(episode.terminations))
    if task.score == "completions":
        return float(episode.rewards.sum() / len(spec.kwargs["tasks_to_complete"]))
    total = float(episode.rewards.sum())
    return normalized_score(total, spec.id) if task.score == "normalized_return" else total


def _read(dataset: minari.MinariDataset, task: Task) -> tuple[list[Episode], list[Episode], list[str]]:
    """The episodes that can be read, those that can be relabelled, and what is wrong with the others."""
    spec, recorded, relabelled, problems = environment_spec(dataset), [], [], []
    try:
        box, observation_dim = check_spaces(dataset, task)
        for where, data in iterate_records(dataset):
            try:
                recorded.append(read_episode(data, task, box, observation_dim, where))
                relabelled.append(relabel_episode(recorded[-1], task, spec, where))
            except InputError as error:
                problems.append(str(error))
    except InputError as error:
        problems.append(str(error))
    if len(problems) > _MOST_PROBLEMS:
        problems[_MOST_PROBLEMS:] = [f"and {len(problems) - _MOST_PROBLEMS} more of this kind"]
    return recorded, relabelled, problems


def _notices(task: Task, spec: EnvSpec, episodes: Sequence[Episode], horizon: int | None) -> list[str]:
    notices = []
    if task is GENERIC:
        notices.append(
            f"{spec.id} belongs to no known family: its own rewards are used and the score is the raw return"
        )
    late = sum(len(episode.rewards) > horizon for episode in episodes) if horizon else 0
    if late:
        notices.append(f"{late} episodes are longer than the {horizon} steps of an evaluation; they are kept whole")
    if episodes and not any(np.any(episode.terminations) for episode in episodes):
        notices.append("no episode terminates: all ends are time-outs, through which values are bootstrapped")
    return notices


def _values(episodes: Sequence[Episode], task: Task) -> np.ndarray:
    reward = task.discount, task.reward_scale, task.reward_shift
    values = [learner_returns(episode, task, *reward) for episode in episodes]
    return np.concatenate(values) if values else np.empty(0)


def describe(dataset: minari.MinariDataset) -> Description:
    """Read a dataset to the end and describe it; what is wrong is reported, not raised."""
    spec = environment_spec(dataset)
    task = find_task(spec)
    recorded, relabelled, problems = _read(dataset, task)
    horizon = None
    try:
        horizon = task.horizon(spec)
        make_env(spec, task, recorded_actions=dataset.spec.action_space).close()
    except InputError as error:
        problems.append(str(error))
    box = dataset.spec.action_space
    actions = [bound(episode.actions) for episode in recorded for bound in (np.min, np.max)]
    success = [bool(np.any(e.infos["success"])) for e in recorded if "success" in e.infos]
    return Description(
        dataset_id=dataset.spec.dataset_id,
        source=dataset.storage.metadata.get("algorithm_name") or "not recorded",
        env_id=spec.id,
        task=task.name,
        convention=f"{task.convention}; learner's reward {task.reward_scale:g} r {task.reward_shift:+g}",
        horizon=horizon,
        episodes=int(dataset.total_episodes),
        steps=int(dataset.total_steps),
        lengths=np.array([len(episode.rewards) for episode in recorded]),
        returns=np.array([episode.rewards.sum() for episode in recorded]),
        values=_values(relabelled, task),
        scores=np.array([recorded_score(episode, task, spec) for episode in relabelled]),
        terminated=sum(bool(np.any(episode.terminations)) for episode in recorded),
        truncated=sum(bool(np.any(episode.truncations)) for episode in recorded),
        success=float(np.mean(success)) if success else None,
        action_range=(float(min(actions)), float(max(actions))) if actions else (np.nan, np.nan),
        action_bounds=(float(np.min(box.low)), float(np.max(box.high))) if hasattr(box, "low") else (np.nan, np.nan),
        problems=tuple(problems),
        notices=tuple(_notices(task, spec, relabelled, horizon)),
    )
