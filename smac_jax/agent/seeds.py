"""Functions of one agent applied to the agents of all seeds, which share nothing but the step counter."""

from collections.abc import Callable
from typing import Any

import jax

from smac_jax.agent.state import AgentState, seed_axes
from smac_jax.types import Info

Update = Callable[..., tuple[AgentState, Info]]


def map_seeds(update: Update, state: AgentState, *arguments: Any) -> tuple[AgentState, Info]:
    """Apply `update(state, *arguments)` to every seed.

    An accelerator takes the seeds together, under `jax.vmap`. A CPU takes those of a device in turn: what one seed
    needs fits into its caches, where that of eight does not, and its loops over an axis of size 1 are slow.

    Args:
        update: of one agent without seed axis; returns the next state and info.
        state: of S seeds; the step counter is a scalar.
        arguments: pytrees whose leaves have a leading axis S.

    Returns:
        The next state, step counter a scalar, and info, leaves (S, ...).
    """
    if jax.default_backend() == "cpu":
        return _one_by_one(update, state, *arguments)
    axes = seed_axes(state)
    return jax.vmap(update, in_axes=(axes, *(0 for _ in arguments)), out_axes=(axes, 0))(state, *arguments)


def _one_by_one(update: Update, state: AgentState, *arguments: Any) -> tuple[AgentState, Info]:
    def one(seed: tuple[AgentState, tuple[Any, ...]]) -> tuple[AgentState, jax.Array, Info]:
        single, single_arguments = seed
        after, info = update(single.replace(step=state.step), *single_arguments)
        return after.replace(step=None), after.step, info

    seeds = (state.replace(step=None), arguments)
    if jax.tree.leaves(seeds)[0].shape[0] == 1:
        after, steps, info = jax.tree.map(lambda leaf: leaf[None], one(jax.tree.map(lambda leaf: leaf[0], seeds)))
    else:
        after, steps, info = jax.lax.map(one, seeds)
    return after.replace(step=steps[0]), info
