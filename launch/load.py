"""A trained agent from a working directory, for the programs that act with it or train it further."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from gymnasium.envs.registration import EnvSpec
from ml_collections import ConfigDict

from configs.finetune import EXPLORATION_NOISE
from launch import session, stored
from smac_jax.agent import AgentState, imitation
from smac_jax.envs.tasks import Task, get_task
from smac_jax.io.checkpoints import Checkpoints
from smac_jax.io.workdir import read_run


class LoadedAgent(NamedTuple):
    """The newest checkpoint of a run, and where it acts.

    Attributes:
        state: of all seeds.
        config: of the run.
        seeds: of the run.
        dims: observation and action dimension.
        phase: `offline` or `online`.
        step: of the checkpoint.
        env_spec: specification of the environment.
        task: its family.
    """

    state: AgentState
    config: ConfigDict
    seeds: list[int]
    dims: tuple[int, int]
    phase: Literal["offline", "online"]
    step: int
    env_spec: EnvSpec
    task: Task

    @property
    def exploration_noise(self) -> float | None:
        """Spread of the noise on the mode for policies whose own spread is not trained; None for the others."""
        return EXPLORATION_NOISE if session.make_terms(self.config).td3_actor else None

    @property
    def origin(self) -> str:
        """What the policy is, in words."""
        methods = [self.config.algorithm, self.config.get("online_algorithm")]
        return f"{' then '.join(filter(None, methods))}, {len(self.seeds)} seed(s), {self.phase} step {self.step}"


def load_agent(workdir: Path) -> LoadedAgent:
    """Load the newest checkpoint of a pretrain or finetune run.

    Raises:
        InputError: the directory holds no run, or no checkpoint yet.
    """
    run = read_run(workdir)
    config, dims, spec = stored.stored_config(run), stored.stored_dims(run), EnvSpec.from_json(run["env_spec"])
    checkpoints = Checkpoints(workdir, create=False)
    state = checkpoints.restore("agent", session.make_agents(config, run["seeds"], dims))
    is_offline = run["program"] == "pretrain"
    return LoadedAgent(
        state=imitation(state) if is_offline else state,
        config=config,
        seeds=run["seeds"],
        dims=dims,
        phase="offline" if is_offline else "online",
        step=checkpoints.newest_step(),
        env_spec=spec,
        task=get_task(config.task, spec),
    )


def hand_over(offline: Checkpoints, run: Mapping[str, Any], state: AgentState) -> AgentState:
    """The agent that a pre-training has left.

    Args:
        offline: checkpoints of the pre-training.
        run: its record.
        state: an agent of the online phase. Where it has a target actor and the offline phase had none, that begins as
            the actor, as TD3's does.
    """
    had_target = session.make_terms(stored.stored_config(run)).needs_target_actor
    restored = offline.restore("agent", state.replace(target_actor=state.actor.params if had_target else None))
    restored = imitation(restored)
    if state.target_actor is None:
        return restored.replace(target_actor=None)
    return restored if had_target else restored.replace(target_actor=jax.tree.map(jnp.copy, restored.actor.params))
