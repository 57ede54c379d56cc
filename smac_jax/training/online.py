"""Online training: environment steps of all seeds while the device computes their updates.

One step: act, dispatch the update, step the environments while it computes, insert the transition. The transition of
step t is therefore first seen by the update of step t + 1, on any machine: results do not depend on timing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from smac_jax.agent import AgentState, Terms, act_seeds, step_seeds
from smac_jax.data.replay import Replay, insert, record_returns, sample_replay
from smac_jax.envs.collector import Collector, Outcome, Transitions
from smac_jax.keys import fold_seeds, stream_keys
from smac_jax.sharding import on_each_device, shard_seeds
from smac_jax.training.offline import mean_info, sample_batch
from smac_jax.types import Batch, Info

insert_transitions = jax.jit(insert, donate_argnums=0)
"""`data.replay.insert`, in place."""


class Calls(NamedTuple):
    """The compiled calls of an environment step.

    Attributes:
        act: actions (S, A) for agent, observations (S, O) and the number of the environment step.
        update: next agent and info, leaves (S,), for agent (donated) and replay.
        insert: the replay (donated) with one more transition a seed and the returns of the episodes that ended.
    """

    act: Callable[[AgentState, np.ndarray, int], jax.Array]
    update: Callable[[AgentState, Replay], tuple[AgentState, Info]]
    insert: Callable[[Replay, Transitions, Mapping[int, Outcome]], Replay]


class OnlineStep(NamedTuple):
    """What an environment step leaves behind.

    Attributes:
        agent: the next state, which may still be computing.
        replay: with the step's transitions.
        info: of the updates, leaves (S,); None where there were none.
        outcomes: of the episodes that ended, by index of their seed.
    """

    agent: AgentState
    replay: Replay
    info: Info | None
    outcomes: dict[int, Outcome]


def has_update(step: int, warmup_steps: int) -> bool:
    """Whether an environment step, from 1, has updates: after the warm-up, and after the first, which has no data."""
    return step > max(warmup_steps, 1)


def online_step(
    agent: AgentState, replay: Replay, collector: Collector, calls: Calls, step: int, warmup_steps: int
) -> OnlineStep:
    """Step all environments once while the agents are updated with the transitions of the steps before.

    The host waits for one thing only: the previous update, whose parameters it acts with.

    Args:
        agent: donated.
        replay: donated.
        collector: of the environments; moves on.
        calls: see `compile_calls`.
        step: number of the environment step, from 1.
        warmup_steps: first steps that have no updates.
    """
    actions = np.asarray(calls.act(agent, collector.observations, step))
    info = None
    if has_update(step, warmup_steps):
        agent, info = calls.update(agent, replay)
    transitions, outcomes = collector.step(actions)
    return OnlineStep(agent, calls.insert(replay, transitions, outcomes), info, outcomes)


def compile_calls(
    agent: AgentState,
    replay: Replay,
    seeds: Sequence[int],
    data: Batch | None,
    updates: jax.stages.Wrapped,
    exploration_noise: float | None,
    insert: Callable[[Replay, Transitions, Mapping[int, Outcome]], Replay],
    mesh: Mesh | None = None,
) -> Calls:
    """Compile acting and updating for arrays of the given shapes.

    Args:
        agent: of S seeds.
        replay: of S seeds.
        seeds: S.
        data: the offline dataset; None where `updates` draw no share from it.
        updates: from `make_online_updates`.
        exploration_noise: see `agent.act`.
        insert: from `make_insert`.
        mesh: over which agent and replay are laid out, see `smac_jax.sharding`; None on one device.
    """
    update_keys = shard_seeds(stream_keys(seeds, "update"), mesh)
    act_keys = shard_seeds(stream_keys(seeds, "act"), mesh)

    def explore(agent: AgentState, observations: jax.Array, keys: jax.Array, step: jax.Array) -> jax.Array:
        return act_seeds(agent, observations, fold_seeds(keys, step), exploration_noise)

    observations = np.zeros((len(seeds), replay.data.observations.shape[-1]), np.float32)
    act = jax.jit(explore).lower(agent, observations, act_keys, np.int32(0)).compile()
    update = updates.lower(agent, replay, update_keys, data).compile()
    return Calls(
        act=lambda agent, observations, step: act(agent, observations, act_keys, np.int32(step)),
        update=lambda agent, replay: update(agent, replay, update_keys, data),
        insert=insert,
    )


def make_returns_writer(discount: float, horizon: int) -> jax.stages.Wrapped:
    """Make the jitted `data.replay.record_returns` of replay, seed, length and tail; the replay is donated."""

    def write(replay: Replay, seed: jax.Array, length: jax.Array, tail: jax.Array) -> Replay:
        return record_returns(replay, seed, length, tail, discount, horizon)

    return jax.jit(write, donate_argnums=0)


def make_insert(
    reward_scale: float, reward_shift: float, write_returns: jax.stages.Wrapped | None = None, time_out: float = 0.0
) -> Callable[[Replay, Transitions, Mapping[int, Outcome]], Replay]:
    """Make the function that inserts what a step has brought, see `Calls`.

    Args:
        reward_scale: of the learner's rewards.
        reward_shift: of the learner's rewards.
        write_returns: from `make_returns_writer`; None where the learner needs no returns of episodes.
        time_out: value of what follows an episode that ran out of time.
    """

    def insert_step(replay: Replay, transitions: Transitions, outcomes: Mapping[int, Outcome]) -> Replay:
        replay = insert_transitions(replay, to_batch(transitions, reward_scale, reward_shift))
        if write_returns is not None:
            for index, outcome in outcomes.items():
                tail = 0.0 if transitions.terminations[index] else time_out
                replay = write_returns(replay, index, outcome.length, tail)
        return replay

    return insert_step


def to_batch(transitions: Transitions, reward_scale: float, reward_shift: float) -> Batch:
    """Transitions as the learner sees them: reward scaled and shifted, no known return, time-outs not terminal."""
    rewards = reward_scale * transitions.rewards + reward_shift
    columns: dict[str, Any] = {
        "observations": transitions.observations,
        "actions": transitions.actions,
        "rewards": rewards,
        "masks": 1.0 - transitions.terminations,
        "next_observations": transitions.next_observations,
        "mc_returns": np.full(len(rewards), -np.inf),
    }
    # Left on the host: the jitted insertion moves them to the device faster than one call an array.
    return jax.tree.map(lambda column: np.asarray(column, np.float32), Batch(**columns))


def make_online_updates(
    terms: Terms, batch_size: int, offline_fraction: float, updates_per_step: int, mesh: Mesh | None = None
) -> jax.stages.Wrapped:
    """Make the function that runs the updates of one environment step for all seeds.

    Args:
        terms: static description of the losses.
        batch_size: B.
        offline_fraction: share of each batch drawn from the offline dataset, the rest from replay.
        updates_per_step: update-to-data ratio; each update draws a batch of its own.
        mesh: over which state, replay, keys and dataset are laid out; None on one device.

    Returns:
        A jitted function of state, replay, (S,) keys and the offline dataset (None where no share is drawn from it)
        that returns the next state and the mean info, each leaf (S,). The state is donated.
    """
    offline_size = round(offline_fraction * batch_size)

    def run(state: AgentState, replay: Replay, keys: jax.Array, data: Batch | None) -> tuple[AgentState, Info]:
        def body(state: AgentState, _: None) -> tuple[AgentState, Info]:
            offline_keys, replay_keys, step_keys = jax.vmap(lambda key: jax.random.split(key, 3), out_axes=1)(
                fold_seeds(keys, state.step)
            )
            batches = sample_replay(replay, replay_keys, batch_size - offline_size)
            if offline_size > 0 and data is not None:
                offline = jax.vmap(lambda key: sample_batch(data, key, offline_size))(offline_keys)
                batches = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), offline, batches)
            return step_seeds(state, batches, step_keys, terms)

        state, infos = jax.lax.scan(body, state, None, length=updates_per_step)
        return state, mean_info(infos)

    return jax.jit(on_each_device(run, mesh), donate_argnums=0)
