"""Actions of a trained or training agent, and of one between two others."""

import jax
import jax.numpy as jnp

from smac_jax.agent.state import AgentState, seed_axes
from smac_jax.networks import tanh_normal


def act(
    state: AgentState,
    observations: jax.Array,
    key: jax.Array | None = None,
    exploration_noise: float | None = None,
) -> jax.Array:
    """Actions for raw observations.

    Args:
        state: agent.
        observations: (..., O), not standardised.
        key: PRNG key; None for the deterministic mode.
        exploration_noise: with a key, None samples the policy (SAC); a number adds Gaussian noise of that standard
            deviation to the mode and clips (TD3).

    Returns:
        (..., A) in [-1, 1].
    """
    mean, log_std = state.actor.apply_fn(state.actor.params, state.standardizer(observations))
    if key is None:
        return tanh_normal.mode(mean)
    if exploration_noise is None:
        return tanh_normal.sample_and_log_prob(mean, log_std, key)[0]
    noise = exploration_noise * jax.random.normal(key, mean.shape, mean.dtype)
    return jnp.clip(tanh_normal.mode(mean) + noise, -1.0, 1.0)


def act_seeds(
    state: AgentState,
    observations: jax.Array,
    keys: jax.Array | None = None,
    exploration_noise: float | None = None,
) -> jax.Array:
    """`act` mapped over a leading seed axis S of state, observations (S, ..., O) and keys (S,)."""
    axes = seed_axes(state)
    if keys is None:
        return jax.vmap(act, in_axes=(axes, 0))(state, observations)
    return jax.vmap(lambda state, obs, key: act(state, obs, key, exploration_noise), in_axes=(axes, 0, 0))(
        state, observations, keys
    )


def imitation(state: AgentState) -> AgentState:
    """The agent that a pre-training is judged by and hands over: with the policy of its anchor where it has one.

    Anchor and actor are separate arrays, as a state whose buffers are donated needs them.
    """
    if state.anchor is None:
        return state
    return state.replace(actor=state.actor.replace(params=jax.tree.map(jnp.copy, state.anchor)))


def mix_actors(start: AgentState, end: AgentState, share: float) -> AgentState:
    """`start` with its actor's parameters at `share` of the straight way to those of `end`; 0 leaves them as they are.

    The actors must have the same shape.
    """
    params = jax.tree.map(lambda a, b: (1.0 - share) * a + share * b, start.actor.params, end.actor.params)
    return start.replace(actor=start.actor.replace(params=params))
