"""What pretrain, finetune and evaluate set up alike: task, data, agent, evaluation, progress."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from gymnasium.envs.registration import EnvSpec
from ml_collections import ConfigDict
from tqdm import tqdm

from configs.common import make_terms
from launch.checks import check_config
from smac_jax.agent import AgentSpec, AgentState, Standardizer, act_seeds, create_agents
from smac_jax.data.minari_dataset import OfflineData, environment_spec, load_offline_data, open_dataset
from smac_jax.envs.collector import Outcome
from smac_jax.envs.make import make_env, make_vector_env
from smac_jax.envs.tasks import Task, get_task
from smac_jax.errors import InputError
from smac_jax.io.logger import RunLogger
from smac_jax.keys import stream_keys
from smac_jax.training.evaluation import evaluate

_EVALUATION_ENVS = 10

Evaluator = Callable[[AgentState, int], list[list[Outcome]]]


class Source(NamedTuple):
    """A dataset and the task it belongs to."""

    dataset_id: str
    data: OfflineData
    task: Task
    env_spec: EnvSpec


def load_source(dataset_id: str, config: ConfigDict, download: bool = False) -> Source:
    """Open and read the dataset of a run.

    Raises:
        InputError: see `check_config`, `smac_jax.data.minari_dataset`, `get_task` and `make_env`, by which the live
            environment takes the recorded actions as they were recorded.
    """
    check_config(config)
    dataset = open_dataset(dataset_id, download)
    spec = environment_spec(dataset)
    task = get_task(config.task, spec)
    reward, terms = config.reward, make_terms(config)
    scale = (reward.scale, reward.shift, reward.normalize)
    ahead = terms.lookahead, terms.lead
    data = load_offline_data(dataset, task, terms.discount, *scale, *ahead)
    make_env(spec, task, recorded_actions=dataset.spec.action_space).close()
    return Source(dataset_id, data, task, spec)


def make_agents(
    config: ConfigDict,
    seeds: Sequence[int],
    dims: tuple[int, int],
    stats: Standardizer | None = None,
) -> AgentState:
    """Create the agents of all seeds for observation and action dimensions `dims`.

    Args:
        config: networks, optimisers and terms.
        seeds: one agent each.
        dims: of observations and actions.
        stats: standardiser of observations; None leaves them as they are, until a restored agent brings its own.
    """
    spec = AgentSpec(
        observation_dim=dims[0],
        action_dim=dims[1],
        hidden_dims=tuple(config.network.hidden_dims),
        activation=config.network.activation,
        actor_layer_norm=config.network.actor_layer_norm,
        actor_detached_spread=config.network.actor_detached_spread,
        critic_layer_norm=config.network.critic_layer_norm,
        critic_dueling=config.network.critic_dueling,
        critic_advantage_width=config.network.critic_advantage_width,
        critic_anchored=config.network.critic_anchored,
        anchor_tail=config.network.anchor_tail,
        critics=config.network.critics,
        target_actor=make_terms(config).needs_target_actor,
        denoiser=config.network.denoiser,
        value=config.network.value,
        optimizer=config.optimizer.name,
        muon_every=config.optimizer.muon_every,
        actor_learning_rate=config.optimizer.actor,
        critic_learning_rate=config.optimizer.critic,
        advantage_learning_rate=config.optimizer.advantage or None,
        denoiser_learning_rate=config.optimizer.denoiser,
        temperature_learning_rate=config.optimizer.temperature,
        temperature=config.temperature,
        kappa=config.kappa,
    )
    unscaled = Standardizer(jnp.zeros(dims[0], jnp.float32), jnp.ones(dims[0], jnp.float32))
    return create_agents(spec, stream_keys(seeds, "init"), stats or unscaled)


def warn_of_kappa(config: ConfigDict, returns: jax.Array) -> None:
    """Say where the spread of the data's discounted returns (N,) is not what the default kappa of any data is for.

    The defaults of a family of tasks are made for its rewards. Those of `generic` are HalfCheetah's.
    """
    spread = float(np.std(returns))
    if config.task == "generic" and config.network.critic_anchored and not 6 <= spread / config.kappa <= 150:
        logging.warning(
            "kappa is %.3g and the data's discounted returns spread by %.3g; a thirtieth of that, --config.kappa=%.2g, "
            "is what the defaults have on HalfCheetah",
            *(config.kappa, spread, spread / 30),
        )


def data_dims(data: OfflineData) -> tuple[int, int]:
    """Observation and action dimension of a dataset."""
    return int(data.batch.observations.shape[-1]), int(data.batch.actions.shape[-1])


def run_record(source: Source, seeds: Sequence[int]) -> dict[str, Any]:
    """What a run's record says of its data and seeds."""
    return {
        "dataset": source.dataset_id,
        "dataset_sha256": source.data.content_hash,
        "env_spec": source.env_spec.to_json(),
        "dims": data_dims(source.data),
        "seeds": list(seeds),
    }


def make_evaluator(spec: EnvSpec, task: Task, seeds: Sequence[int], episodes: int, dims: tuple[int, int]) -> Evaluator:
    """Function of state and step that evaluates every seed's deterministic policy on environments of its own.

    Raises:
        InputError: the environment cannot be made, or its spaces are not those the agent was made for.
    """
    env = make_vector_env(spec, task, len(seeds) * min(episodes, _EVALUATION_ENVS))
    found = (env.single_observation_space.shape, env.single_action_space.shape)
    if found != ((dims[0],), (dims[1],)):
        raise InputError(
            f"{spec.id} has observations and actions of shape {found[0]} and {found[1]}, the agent expects "
            f"({dims[0]},) and ({dims[1]},); use the environment and package versions it was trained with"
        )
    act = jax.jit(act_seeds)

    def run(state: AgentState, step: int) -> list[list[Outcome]]:
        return evaluate(lambda obs: np.asarray(act(state, obs)), env, seeds, step, episodes)

    return run


def evaluated_steps(config: ConfigDict, steps: int, eval_every: int) -> Callable[[int], bool]:
    """Whether a step of a phase is evaluated: every so many, early on more often, and the last.

    Args:
        config: of the run.
        steps: of the whole phase.
        eval_every: what `eval.every` comes to.
    """
    early_every, early_steps = config.eval.early_every, config.eval.early_steps

    def is_evaluated(step: int) -> bool:
        early = early_every > 0 and step <= early_steps and step % early_every == 0
        return early or step % eval_every == 0 or step == steps

    return is_evaluated


@contextmanager
def progress_bar(total: int, initial: int, unit: str, title: str) -> Iterator[tqdm]:
    """Progress with rate and remaining time; rare lines where the output is not a terminal."""
    interval = 0.5 if sys.stderr.isatty() else 10.0
    with tqdm(
        total=total,
        initial=initial,
        unit=f" {unit}",
        desc=title,
        mininterval=interval,
        dynamic_ncols=True,
        smoothing=0.05,
    ) as bar:
        yield bar


class Stopwatch:
    """Seconds spent in named activities, and since the run began, earlier processes included."""

    def __init__(self, spent: Mapping[str, float] | None = None):
        self.spent = dict(spent or {})
        self._began = time.perf_counter() - self.spent.get("wall", 0.0)

    @property
    def wall(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._began

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time of a block to an activity."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - start

    def record(self) -> dict[str, float]:
        """All activities, for the checkpoint."""
        return {**self.spent, "wall": self.wall}

    def rate(self, count: int, *names: str) -> float:
        """`count` per second of activities taken together; NaN where they took no time."""
        seconds = sum(self.spent.get(name, 0.0) for name in names)
        return count / seconds if seconds > 0 else float("nan")


def describe(results: Sequence[Sequence[Outcome]]) -> str:
    """Scores and returns of an evaluation, for the progress bar."""
    scores = " ".join(f"{np.mean([outcome.score for outcome in row]):.3f}" for row in results)
    returns = " ".join(f"{np.mean([outcome.episode_return for outcome in row]):.0f}" for row in results)
    return f"score {scores} (return {returns})"


def log_infos(logger: RunLogger, step: int, infos: Sequence[Mapping[str, jax.Array]]) -> None:
    """Write the mean of infos, each leaf (S,), after checking it; nothing where there are none.

    A quantity whose updates were all skipped, which its NaN says, is left blank.

    Raises:
        FloatingPointError: names the first quantity that is no number any more.
    """
    if not infos:
        return
    host = jax.device_get(infos)
    means = {}
    for name in host[0]:
        values = np.stack([info[name] for info in host])
        made = values[~np.isnan(values).all(axis=1)]
        means[name] = made.mean(axis=0) if len(made) else np.full(values.shape[1], np.nan)
        if len(made) and not np.all(np.isfinite(means[name])):
            raise FloatingPointError(
                f"{name} is {means[name]} (by seed) at step {step}: training diverged; lower the learning rates"
            )
    logger.train(step, means)
