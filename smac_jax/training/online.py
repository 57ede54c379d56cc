"""Online training: one update of all seeds from replay and offline data."""

from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from smac_jax.agent import AgentState, Terms, step_seeds
from smac_jax.data.replay import Replay, insert, record_returns, sample_replay
from smac_jax.envs.collector import Transitions
from smac_jax.keys import fold_seeds
from smac_jax.training.offline import mean_info, sample_batch
from smac_jax.types import Batch, Info

insert_transitions = jax.jit(insert, donate_argnums=0)
"""`data.replay.insert`, in place."""


def make_returns_writer(discount: float, horizon: int) -> jax.stages.Wrapped:
    """Make the jitted `data.replay.record_returns` of replay, seed, length and tail; the replay is donated."""

    def write(replay: Replay, seed: jax.Array, length: jax.Array, tail: jax.Array) -> Replay:
        return record_returns(replay, seed, length, tail, discount, horizon)

    return jax.jit(write, donate_argnums=0)


def to_batch(transitions: Transitions, reward_scale: float, reward_shift: float) -> Batch:
    """Transitions as the learner sees them: reward scaled and shifted, no known return, time-outs not terminal."""
    rewards = reward_scale * transitions.rewards + reward_shift
    columns = {
        "observations": transitions.observations,
        "actions": transitions.actions,
        "rewards": rewards,
        "masks": 1.0 - transitions.terminations,
        "next_observations": transitions.next_observations,
        "mc_returns": np.full(len(rewards), -np.inf),
    }
    # Left on the host: the jitted insertion moves them to the device faster than one call an array.
    return Batch(**{name: cast(jax.Array, np.asarray(column, np.float32)) for name, column in columns.items()})


def make_online_updates(
    terms: Terms, batch_size: int, offline_fraction: float, updates_per_step: int
) -> jax.stages.Wrapped:
    """Make the function that runs the updates of one environment step for all seeds.

    Args:
        terms: static description of the losses.
        batch_size: B.
        offline_fraction: share of each batch drawn from the offline dataset, the rest from replay.
        updates_per_step: update-to-data ratio; each update draws a batch of its own.

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

    return jax.jit(run, donate_argnums=0)
