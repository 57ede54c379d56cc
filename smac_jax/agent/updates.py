"""Updates of single networks: each takes the agent's state and returns the moved network and its info.

All of them see observations that are already standardised.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax.training.train_state import TrainState

from smac_jax import losses
from smac_jax.agent.state import AgentState, positive_scalar
from smac_jax.agent.terms import DenoisingTerm, TDTerm, TemperatureTerm, Terms
from smac_jax.networks import tanh_normal
from smac_jax.types import Batch, Info, Params


class Points(NamedTuple):
    """Where the score-matching penalty is taken: noised actions and scores (B, A), weights 1 - abar (B,)."""

    actions: jax.Array
    scores: jax.Array
    weights: jax.Array


def update_denoiser(
    state: AgentState, batch: Batch, key: jax.Array, term: DenoisingTerm, terms: Terms
) -> tuple[TrainState, Info]:
    """Fit the denoiser to the batch's actions."""

    def loss_fn(params: Params) -> tuple[jax.Array, Info]:
        loss, info = losses.denoising_score_matching(
            state.denoiser.apply_fn,
            params,
            batch.observations,
            batch.actions,
            key,
            min_log_snr=terms.min_log_snr,
            max_log_snr=terms.max_log_snr,
        )
        return term.weight * loss, info

    gradients, info = jax.grad(loss_fn, has_aux=True)(state.denoiser.params)
    return state.denoiser.apply_gradients(grads=gradients), info


def _td_targets(state: AgentState, batch: Batch, key: jax.Array, term: TDTerm, discount: float) -> jax.Array:
    """Targets (B,) from the target critics at the policy's next action."""
    action_key, smoothing_key = jax.random.split(key)
    mean, log_std = state.actor.apply_fn(state.actor.params, batch.next_observations)
    if term.next_action == "sample":
        actions, log_probs = tanh_normal.sample_and_log_prob(mean, log_std, action_key)
    else:
        actions = tanh_normal.mode(mean)
        log_probs = tanh_normal.log_prob(mean, log_std, actions)
    if term.smoothing > 0:
        actions = losses.smooth_actions(actions, smoothing_key, term.smoothing, term.smoothing_clip)
    values = losses.ensemble_values(state.critic.apply_fn, state.target_critic, batch.next_observations, actions)
    return losses.td_target(
        batch.rewards,
        batch.masks,
        values,
        discount,
        temperature=positive_scalar(state.temperature),
        next_log_probs=log_probs if term.soft else None,
    )


def _penalty_points(state: AgentState, batch: Batch, key: jax.Array, policy_fraction: float, terms: Terms) -> Points:
    """Points of the score-matching penalty, at every noise level."""
    level_key, noise_key, action_key = jax.random.split(key, 3)
    actions = batch.actions
    policy_points = round(policy_fraction * actions.shape[0])
    if policy_points > 0:
        mean, log_std = state.actor.apply_fn(state.actor.params, batch.observations[:policy_points])
        policy_actions, _ = tanh_normal.sample_and_log_prob(mean, log_std, action_key)
        actions = jnp.concatenate([policy_actions, actions[policy_points:]])
    log_snr = losses.sample_log_snr(level_key, actions.shape[0], terms.min_log_snr, terms.max_log_snr)
    noise = jax.random.normal(noise_key, actions.shape, actions.dtype)
    noised = losses.add_noise(actions, noise, log_snr)
    predicted = state.denoiser.apply_fn(state.denoiser.params, noised, batch.observations, log_snr)
    return Points(noised, losses.noise_to_score(predicted, log_snr), jax.nn.sigmoid(-log_snr))


def update_critic(state: AgentState, batch: Batch, key: jax.Array, terms: Terms) -> tuple[TrainState, TrainState, Info]:
    """Move the critic along all its terms, and kappa where it is learned; returns both and info."""
    td_key, penalty_key = jax.random.split(key)
    apply_fn, td, penalty = state.critic.apply_fn, terms.td, terms.score_penalty
    targets = _td_targets(state, batch, td_key, td, terms.discount) if td else None
    points = _penalty_points(state, batch, penalty_key, penalty.policy_fraction, terms) if penalty else None

    def loss_fn(critic_params: Params, kappa_params: Params) -> tuple[jax.Array, Info]:
        loss = jnp.zeros(())
        info: Info = {}
        if td and targets is not None:
            part, part_info = losses.td_error(apply_fn, critic_params, batch.observations, batch.actions, targets)
            loss, info = loss + td.weight * part, info | part_info
        if penalty and points is not None:
            tied = penalty.kappa == "temperature"
            kappa = positive_scalar(state.temperature) if tied else jnp.exp(kappa_params["log"])
            part, part_info = losses.score_matching_penalty(
                apply_fn, critic_params, batch.observations, points.actions, points.scores, points.weights, kappa
            )
            loss, info = loss + penalty.weight * part, info | part_info | {"kappa": kappa}
        return loss, info

    gradients, info = jax.grad(loss_fn, argnums=(0, 1), has_aux=True)(state.critic.params, state.kappa.params)
    info["critic_gradient_norm"] = optax.global_norm(gradients[0])
    kappa = state.kappa
    if penalty and penalty.kappa == "learned":
        kappa = kappa.apply_gradients(grads=gradients[1])
    return state.critic.apply_gradients(grads=gradients[0]), kappa, info


def update_actor(state: AgentState, batch: Batch, key: jax.Array, terms: Terms) -> tuple[TrainState, Info]:
    """Move the actor along all its terms."""
    sample_key, distillation_key = jax.random.split(key)
    actor_apply, critic, denoiser = state.actor.apply_fn, state.critic, state.denoiser

    def loss_fn(params: Params) -> tuple[jax.Array, Info]:
        parts: list[tuple[float, tuple[jax.Array, Info]]] = []
        if term := terms.sac_actor:
            result = losses.sac_actor(
                actor_apply,
                params,
                critic.apply_fn,
                critic.params,
                batch.observations,
                positive_scalar(state.temperature),
                sample_key,
                reduction=term.reduction,
            )
            parts.append((term.weight, result))
        if td3 := terms.td3_actor:
            result = losses.td3_actor(
                actor_apply,
                params,
                critic.apply_fn,
                critic.params,
                batch.observations,
                reduction=td3.reduction,
                normalize=td3.normalize,
            )
            parts.append((td3.weight, result))
        if bc := terms.behavior_cloning:
            result = losses.behavior_cloning(
                actor_apply, params, batch.observations, batch.actions, loss_type=bc.loss_type
            )
            parts.append((bc.weight, result))
        if distillation := terms.score_distillation:
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
    return state.actor.apply_gradients(grads=gradients), info


def update_temperature(
    state: AgentState, entropy: jax.Array, term: TemperatureTerm, action_dim: int
) -> tuple[TrainState, Info]:
    """Move the temperature towards the one that holds the policy's entropy (nats) at its target."""

    def loss_fn(params: Params) -> tuple[jax.Array, Info]:
        loss, info = losses.temperature(params["log"], entropy, term.entropy_per_dim * action_dim)
        return term.weight * loss, info

    gradients, info = jax.grad(loss_fn, has_aux=True)(state.temperature.params)
    return state.temperature.apply_gradients(grads=gradients), info
