"""Updates of single networks: each takes the agent's state and returns the moved network and its info.

All of them see observations that are already standardised.
"""

import jax
import jax.numpy as jnp
from flax.training.train_state import TrainState

from smac_jax import losses
from smac_jax.agent.loss_terms import DenoisingTerm, SACActorTerm, TemperatureTerm, ValueTerm
from smac_jax.agent.state import AgentState, apply_gradients, critic_apply, positive_scalar, require
from smac_jax.agent.terms import Terms
from smac_jax.errors import InputError
from smac_jax.types import Batch, Info, Lookahead, Params


def update_denoiser(
    state: AgentState, batch: Batch, key: jax.Array, term: DenoisingTerm, terms: Terms
) -> tuple[TrainState, Info]:
    """Fit the denoiser to the actions of the term's share of the batch."""
    batch = batch.share(term.batch_fraction)
    denoiser = require(state.denoiser, "denoiser")

    def loss_fn(params: Params) -> tuple[jax.Array, Info]:
        loss, info = losses.denoising_score_matching(
            denoiser.apply_fn,
            params,
            batch.observations,
            batch.actions,
            key,
            min_log_snr=terms.min_log_snr,
            max_log_snr=terms.max_log_snr,
        )
        return term.weight * loss, info

    gradients, info = jax.grad(loss_fn, has_aux=True)(denoiser.params)
    return apply_gradients(denoiser, gradients, state.step), info


def _lookahead(batch: Batch) -> Lookahead:
    if batch.lookahead is None:
        raise InputError("terms.value.steps above 1 needs batches with a `Lookahead`; load the data with as many steps")
    return batch.lookahead


def action_values(state: AgentState, batch: Batch, terms: Terms) -> jax.Array:
    """Values (B,) of the batch's actions as the state value's term takes them."""
    if terms.value and terms.value.target == "td":
        value = require(state.value, "value")
        rewards, discounts, ends = batch.rewards, terms.discount * batch.masks, batch.next_observations
        if terms.lookahead > 1:
            rewards, discounts, ends = _lookahead(batch)
        return losses.td_target(rewards, discounts, value.apply_fn(value.params, ends)[None], 1.0)
    values = losses.ensemble_values(critic_apply(state), state.target_critic, batch.observations, batch.actions)
    return jnp.min(values, axis=0)


def _noised(observations: jax.Array, key: jax.Array, scale: float) -> jax.Array:
    """Standardised observations (B, O) with Gaussian noise, for networks that small errors shall not lead astray.

    To first order it penalises how steeply what is fitted depends on the observation (Bishop, 1995, "Training with
    noise is equivalent to Tikhonov regularization").
    """
    if scale == 0.0:
        return observations
    return observations + scale * jax.random.normal(key, observations.shape, observations.dtype)


def update_value(
    state: AgentState, batch: Batch, key: jax.Array, term: ValueTerm, terms: Terms
) -> tuple[TrainState, Info]:
    """Fit the state value to an expectile of the values of the batch's actions."""
    value = require(state.value, "value")
    values = action_values(state, batch, terms)
    observations = _noised(batch.observations, key, term.observation_noise)

    def loss_fn(params: Params) -> tuple[jax.Array, Info]:
        loss, info = losses.expectile_value(value.apply_fn, params, observations, values, level=term.expectile)
        return term.weight * loss, info

    gradients, info = jax.grad(loss_fn, has_aux=True)(value.params)
    return apply_gradients(value, gradients, state.step), info


def advantages(state: AgentState, batch: Batch, observations: jax.Array, terms: Terms) -> jax.Array:
    """Advantages (B,) of the batch's actions: their values less the state value at `observations`."""
    value = require(state.value, "value")
    return action_values(state, batch, terms) - value.apply_fn(value.params, observations)


def _imitated(batch: Batch, lead: int) -> jax.Array:
    """Actions (B, A) that an imitation follows."""
    if lead == 0:
        return batch.actions
    if batch.later_actions is None:
        raise InputError("terms.lead above 0 needs batches with `later_actions`; load the data with the same lead")
    return batch.later_actions


def update_actor(state: AgentState, batch: Batch, key: jax.Array, terms: Terms) -> tuple[TrainState, Info]:
    """Move the actor along all its terms."""
    sample_key, distillation_key = jax.random.split(key)
    # 0 and 1 are the keys of the split.
    noise_key = jax.random.fold_in(key, 2)
    actor_apply, values_apply, critic_params = state.actor.apply_fn, critic_apply(state), state.critic.params

    def sac_actor(params: Params, term: SACActorTerm, observations: jax.Array) -> tuple[jax.Array, Info]:
        return losses.sac_actor(
            actor_apply,
            params,
            values_apply,
            critic_params,
            observations,
            positive_scalar(state.temperature),
            sample_key,
            reduction=term.reduction,
            antithetic=term.antithetic,
        )

    def loss_fn(params: Params) -> tuple[jax.Array, Info]:
        parts: list[tuple[float, tuple[jax.Array, Info]]] = []
        if term := terms.sac_actor:
            parts.append((term.weight, sac_actor(params, term, batch.observations)))
        if td3 := terms.td3_actor:
            result = losses.td3_actor(
                actor_apply,
                params,
                values_apply,
                critic_params,
                batch.observations,
                reduction=td3.reduction,
                normalize=td3.normalize,
            )
            parts.append((td3.weight, result))
        if bc := terms.behavior_cloning:
            observations = _noised(batch.observations, noise_key, bc.observation_noise)
            actions = _imitated(batch, terms.lead)
            result = losses.behavior_cloning(actor_apply, params, observations, actions, loss_type=bc.loss_type)
            parts.append((bc.weight, result))
        if awr := terms.advantage_weighted:
            observations = _noised(batch.observations, noise_key, awr.observation_noise)
            result = losses.advantage_weighted_actor(
                actor_apply,
                params,
                observations,
                _imitated(batch, terms.lead),
                advantages(state, batch, observations, terms),
                inverse_temperature=awr.inverse_temperature,
                max_weight=awr.max_weight,
            )
            parts.append((awr.weight, result))
        if distillation := terms.score_distillation:
            denoiser = require(state.denoiser, "denoiser")
            result = losses.score_distillation(
                actor_apply,
                params,
                denoiser.apply_fn,
                denoiser.params,
                batch.observations,
                distillation_key,
                min_log_snr=terms.min_log_snr,
                max_log_snr=terms.max_log_snr,
            )
            parts.append((distillation.weight, result))
        loss = sum((weight * part for weight, (part, _) in parts), start=jnp.zeros(()))
        info: Info = {}
        for _, (_, part_info) in parts:
            info |= part_info
        return loss, info | {"actor_loss": loss}

    gradients, info = jax.grad(loss_fn, has_aux=True)(state.actor.params)
    if terms.score_penalty and not terms.sac_actor:
        # What the penalty is judged by, for the log alone, which is why its share of the states is enough.
        observations = batch.share(terms.score_penalty.batch_fraction).observations
        params = require(state.anchor, "critic_anchored") if terms.anchor_follows else state.actor.params
        _, policy = sac_actor(params, SACActorTerm(), observations)
        info |= {name: policy[name] for name in ("entropy", "q_policy")}
    if state.anchor is not None and not terms.anchor_follows:
        info["mode_distance"] = losses.mode_distance(actor_apply, state.actor.params, state.anchor, batch.observations)
    return apply_gradients(state.actor, gradients, state.step), info


def update_temperature(
    state: AgentState, entropy: jax.Array, term: TemperatureTerm, action_dim: int
) -> tuple[TrainState, Info]:
    """Move the temperature towards the one that holds the policy's entropy (nats) at its target."""

    def loss_fn(params: Params) -> tuple[jax.Array, Info]:
        target = term.entropy_per_dim * action_dim
        loss, info = losses.temperature(params["log"], entropy, target)
        return term.weight * loss, info | {"entropy_above_target": entropy - target}

    gradients, info = jax.grad(loss_fn, has_aux=True)(state.temperature.params)
    return apply_gradients(state.temperature, gradients, state.step), info
