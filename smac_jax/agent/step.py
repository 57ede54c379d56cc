"""The one step function of every phase and every algorithm."""

import jax
import jax.numpy as jnp
import optax

from smac_jax.agent import updates
from smac_jax.agent.critic_update import update_critic
from smac_jax.agent.seeds import map_seeds
from smac_jax.agent.state import AgentState, require
from smac_jax.agent.terms import Terms
from smac_jax.types import Batch, Info


def _finite_or_infinite(info: Info) -> Info:
    """Info in which what is no number any more is infinite, as NaN says that an update was skipped."""
    return jax.tree.map(lambda value: jnp.where(jnp.isfinite(value), value, jnp.inf), info)


def _update_policy(state: AgentState, batch: Batch, key: jax.Array, terms: Terms) -> tuple[AgentState, Info]:
    """Actor and temperature: the part that `policy_delay` delays."""
    info: Info = {}
    if terms.trains_actor:
        actor, info = updates.update_actor(state, batch, key, terms)
        if terms.temperature:
            temperature, temperature_info = updates.update_temperature(
                state, info["entropy"], terms.temperature, batch.actions.shape[-1]
            )
            state = state.replace(temperature=temperature)
            info |= temperature_info
        state = state.replace(actor=actor)
    return state, _finite_or_infinite(info)


def update_anchor(state: AgentState) -> AgentState:
    """Average the actor's parameters over about the last tenth of its updates.

    An imitation trembles: what two policies do that are a hundred updates apart can be all and nothing, at equal
    losses (Block et al., 2023, arXiv 2310.11428). The mean over the last share of a run's iterates is stochastic
    gradient descent's better estimate (Rakhlin et al., 2012, arXiv 1109.5647), however long the run.

    Args:
        state: with its actor moved, its step not counted yet.

    Returns:
        The state with its anchor moved 10 / (10 + step) of the way to the actor, at step 0 all of it.
    """
    anchor = require(state.anchor, "critic_anchored")
    share = 10.0 / (10.0 + state.step)
    return state.replace(anchor=optax.incremental_update(state.actor.params, anchor, share))


def _update_target(state: AgentState, terms: Terms) -> AgentState:
    state = state.replace(target_critic=optax.incremental_update(state.critic.params, state.target_critic, terms.tau))
    if terms.needs_target_actor:
        target_actor = require(state.target_actor, "target_actor")
        state = state.replace(target_actor=optax.incremental_update(state.actor.params, target_actor, terms.tau))
    return state


def step(state: AgentState, batch: Batch, key: jax.Array, terms: Terms) -> tuple[AgentState, Info]:
    """One update of every network that `terms` names, the others left bit-identical.

    Order: denoiser, state value, critic (and a learned kappa or multiplier), actor, temperature, anchor, targets.

    Args:
        state: agent.
        batch: (B, ...) transitions with raw observations.
        key: PRNG key; each network draws from a fold of its own, so that switching one off does not change
            what the others draw.
        terms: static description of the losses.

    Returns:
        The next state and scalar info. Quantities of a delayed update are NaN on the steps that skip it; what has
        diverged is infinite.
    """
    standardize = state.standardizer
    batch = batch._replace(
        observations=standardize(batch.observations), next_observations=standardize(batch.next_observations)
    )
    if ahead := batch.lookahead:
        batch = batch._replace(lookahead=ahead._replace(observations=standardize(ahead.observations)))
    denoiser_key, critic_key, actor_key, value_key = (jax.random.fold_in(key, index) for index in range(4))
    info: Info = {}
    if terms.denoising:
        denoiser, denoiser_info = updates.update_denoiser(state, batch, denoiser_key, terms.denoising, terms)
        state, info = state.replace(denoiser=denoiser), info | denoiser_info
    if terms.value:
        value, value_info = updates.update_value(state, batch, value_key, terms.value, terms)
        state, info = state.replace(value=value), info | value_info
    if terms.trains_critic:
        state, critic_info = update_critic(state, batch, critic_key, terms)
        info = info | critic_info
    if terms.policy_delay == 1:
        state, policy_info = _update_policy(state, batch, actor_key, terms)
    else:
        shapes = jax.eval_shape(lambda: _update_policy(state, batch, actor_key, terms)[1])
        nothing = jax.tree.map(lambda shape: jnp.full(shape.shape, jnp.nan, shape.dtype), shapes)
        state, policy_info = jax.lax.cond(
            state.step % terms.policy_delay == 0,
            lambda: _update_policy(state, batch, actor_key, terms),
            lambda: (state, nothing),
        )
    if terms.anchor_follows:
        state = update_anchor(state)
    if terms.trains_critic and terms.target_delay == 1:
        state = _update_target(state, terms)
    elif terms.trains_critic:
        state = jax.lax.cond(state.step % terms.target_delay == 0, lambda: _update_target(state, terms), lambda: state)
    return state.replace(step=state.step + 1), _finite_or_infinite(info) | policy_info


def step_seeds(state: AgentState, batch: Batch, keys: jax.Array, terms: Terms) -> tuple[AgentState, Info]:
    """`step` for every seed: state, batch and keys with a leading seed axis S; the step counter stays a scalar."""
    return map_seeds(lambda state, batch, key: step(state, batch, key, terms), state, batch, keys)
