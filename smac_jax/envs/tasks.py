"""The task table: everything that tells one family of tasks from another, as data.

Training, evaluation, reports and dataset descriptions read it; nothing else in the library knows a task by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import gymnasium as gym
from absl import logging
from gymnasium.envs.registration import EnvSpec

from smac_jax.envs import conventions
from smac_jax.envs.episode import Episode
from smac_jax.errors import InputError

ScoreRule = Literal["success", "completions", "normalized_return", "raw_return"]


@dataclass(frozen=True)
class Task:
    """A family of tasks.

    Attributes:
        name: as in `configs/ALGO.py:TASK`.
        env_prefixes: beginnings of the gymnasium ids that belong to the family.
        score: `success` is whether the episode ever succeeded, `completions` the share of target tasks completed,
            `normalized_return` D4RL's (return - random) / (expert - random), `raw_return` the return itself.
        score_source: where the score comes from.
        convention: reward and end of an episode in words, after relabelling.
        observation_keys: order in which Dict observations are concatenated.
        horizons: time limit by beginning of the gymnasium id; where absent, the recorded specification's own.
        env_kwargs: arguments that replace those of the recorded specification.
        wrappers: around the live environment, innermost first.
        relabel: recorded episode to the convention of the live, wrapped environment; refuses one that contradicts it.
        reward_scale: learner's reward = scale * reward + shift.
        reward_shift: see `reward_scale`.
        records_success: whether `relabel` reads the datasets' `infos/success`, which are recorded for it.
        failure_reward: reward of every step without success where rewards are sparse; None where they are not.
        discount: gamma.
    """

    name: str
    env_prefixes: tuple[str, ...]
    score: ScoreRule
    score_source: str = ""
    convention: str = ""
    observation_keys: tuple[str, ...] = ()
    horizons: Mapping[str, int] = field(default_factory=dict)
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[Callable[[gym.Env], gym.Env], ...] = ()
    relabel: Callable[[Episode, EnvSpec], Episode] = conventions.keep_native
    reward_scale: float = 1.0
    reward_shift: float = 0.0
    records_success: bool = False
    failure_reward: float | None = None
    discount: float = 0.99

    def horizon(self, spec: EnvSpec) -> int:
        """Time limit of an episode.

        Raises:
            InputError: neither the table nor the specification has one.
        """
        for prefix, steps in self.horizons.items():
            if spec.id.startswith(prefix):
                return steps
        if spec.max_episode_steps is None:
            raise InputError(f"{spec.id} has no time limit; record the dataset with max_episode_steps set")
        return spec.max_episode_steps


GENERIC = Task(
    name="generic",
    env_prefixes=("",),
    score="raw_return",
    score_source="the return itself; the drop is in its units, and the regret, made for scores in [0, 1], says nothing",
    convention="rewards, ends and time limit as recorded",
)
"""What is done with an environment of no known family: the recorded environment as it is."""

TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="kitchen",
            env_prefixes=("FrankaKitchen",),
            score="completions",
            score_source="target tasks completed / number of target tasks (D4RL, arXiv 2004.07219)",
            convention="+1 once for each target task; ends when all are done",
            # The targets are constant within a dataset, so robot and object state say everything.
            observation_keys=("observation",),
            horizons={"FrankaKitchen": 280},
            env_kwargs={"terminate_on_tasks_completed": True, "remove_task_when_completed": True},
            relabel=conventions.newly_completed,
        ),
        Task(
            name="adroit_binary",
            env_prefixes=("AdroitHand",),
            score="success",
            score_source="share of episodes that ever succeed (AWAC, arXiv 2006.09359)",
            convention="success - 1; ends at the first success",
            horizons={"AdroitHandPen": 100, "AdroitHand": 200},
            wrappers=(conventions.SuccessMinusOne,),
            relabel=conventions.success_minus_one,
            # Cal-QL and RLPD: rewards of -5 before and +5 at success.
            reward_scale=10.0,
            reward_shift=5.0,
            records_success=True,
            failure_reward=-1.0,
        ),
        Task(
            name="locomotion",
            env_prefixes=("HalfCheetah", "Hopper", "Walker2d", "Ant-", "Humanoid", "Swimmer"),
            score="normalized_return",
            score_source="(return - random) / (expert - random) (D4RL, arXiv 2004.07219)",
            convention="as recorded",
        ),
        Task(
            name="antmaze",
            env_prefixes=("AntMaze",),
            score="success",
            score_source="share of episodes that reach the goal (D4RL, arXiv 2004.07219)",
            convention="1 at the goal, else 0; ends there",
            # The body's position comes first, as in D4RL, and the goal last.
            observation_keys=("achieved_goal", "observation", "desired_goal"),
            env_kwargs={"continuing_task": False},
            relabel=conventions.ends_at_goal,
            # Cal-QL and RLPD: rewards of -5 on the way and +5 at the goal.
            reward_scale=10.0,
            reward_shift=-5.0,
            failure_reward=0.0,
        ),
        Task(
            name="pointmaze",
            env_prefixes=("PointMaze",),
            score="success",
            score_source="share of episodes that reach the goal",
            convention="1 at the goal, else 0; ends there",
            # `observation` already begins with the position.
            observation_keys=("observation", "desired_goal"),
            env_kwargs={"continuing_task": False},
            relabel=conventions.ends_at_goal,
            reward_shift=-1.0,
            failure_reward=0.0,
        ),
        GENERIC,
    )
}

REFERENCE_RETURNS: Mapping[str, tuple[float, float]] = {
    "HalfCheetah": (-280.178953, 12135.0),
    "Hopper": (-20.272305, 3234.3),
    "Walker2d": (1.629008, 4592.3),
    "Ant-": (-325.6, 3879.7),
}
"""Random and expert return by beginning of the gymnasium id (D4RL, Fu et al., 2020, arXiv 2004.07219)."""


def find_task(spec: EnvSpec) -> Task:
    """The family that an environment belongs to; `GENERIC` where none does."""
    return next(task for task in TASKS.values() if spec.id.startswith(task.env_prefixes))


def get_task(name: str, spec: EnvSpec) -> Task:
    """Look a task up and check that an environment belongs to it.

    An environment of no known family falls back to `GENERIC`, with a notice.

    Raises:
        InputError: unknown name, or an environment of another family.
    """
    if name not in TASKS:
        raise InputError(f"unknown task {name!r}; use one of {', '.join(TASKS)}")
    found = find_task(spec)
    if found is GENERIC and name != GENERIC.name:
        logging.warning(
            "%s belongs to no known family of tasks: networks and budgets are those of %s, but the environment is used "
            "as recorded, and the score is the raw return",
            spec.id,
            name,
        )
        return GENERIC
    if not spec.id.startswith(TASKS[name].env_prefixes):
        raise InputError(
            f"the dataset was recorded in {spec.id}, which is not a task of {name}; use the task {found.name}"
        )
    return TASKS[name]


def reference_returns(env_id: str) -> tuple[float, float] | None:
    """Random and expert return of an environment, where D4RL gives them."""
    return next((pair for prefix, pair in REFERENCE_RETURNS.items() if env_id.startswith(prefix)), None)


def normalized_score(episode_return: float, env_id: str) -> float:
    """D4RL's normalised return divided by 100; the raw return where no reference is known."""
    reference = reference_returns(env_id)
    if reference is None:
        return episode_return
    random_return, expert_return = reference
    return (episode_return - random_return) / (expert_return - random_return)
