"""Offline training: many updates over a dataset on the device in one compiled call."""

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from smac_jax.agent import AgentState, Terms, map_seeds, step
from smac_jax.sharding import on_each_device
from smac_jax.types import Batch, Info


def sample_batch(data: Batch, key: jax.Array, batch_size: int) -> Batch:
    """Draw transitions uniformly with replacement."""
    indices = jax.random.randint(key, (batch_size,), 0, data.rewards.shape[0])
    return jax.tree.map(lambda rows: rows[indices], data)


def mean_info(infos: Info) -> Info:
    """Average infos over their leading axis, leaving out the NaN of skipped updates; NaN where all were skipped."""
    return jax.tree.map(lambda values: jnp.nanmean(values, axis=0), infos)


def make_offline_updates(terms: Terms, batch_size: int, updates: int, mesh: Mesh | None = None) -> jax.stages.Wrapped:
    """Make the function that runs `updates` updates of all seeds.

    Update t of a seed draws from `fold_in(key, t)` with t the state's own step counter. The stream therefore depends
    neither on where a call starts nor on how many updates it makes, and a resumed run continues it bit for bit.

    Args:
        terms: static description of the losses.
        batch_size: B.
        updates: scan length.
        mesh: over which state, keys and dataset are laid out, see `smac_jax.sharding`; None on one device.

    Returns:
        A jitted function of state, (S,) keys and the dataset that returns the next state and the mean info, each
        leaf (S,). The state is donated.
    """

    def run(state: AgentState, keys: jax.Array, data: Batch) -> tuple[AgentState, Info]:
        def train(state: AgentState, key: jax.Array) -> tuple[AgentState, Info]:
            def body(state: AgentState, _: None) -> tuple[AgentState, Info]:
                batch_key, step_key = jax.random.split(jax.random.fold_in(key, state.step))
                return step(state, sample_batch(data, batch_key, batch_size), step_key, terms)

            state, infos = jax.lax.scan(body, state, None, length=updates)
            return state, mean_info(infos)

        return map_seeds(train, state, keys)

    return jax.jit(on_each_device(run, mesh), donate_argnums=0)
