"""The update of the critic: targets, and the points and proposals of its penalties.

Observations are already standardised.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax.training.train_state import TrainState

from smac_jax import losses
from smac_jax.agent.loss_terms import ScorePenaltyTerm, TDTerm
from smac_jax.agent.state import (
    AgentState,
    apply_gradients,
    critic_apply,
    critic_apply_by_distance,
    positive_scalar,
    require,
)
from smac_jax.agent.terms import Terms
from smac_jax.networks import tanh_normal
from smac_jax.types import Batch, Info, Params


class Points(NamedTuple):
    """Where the score-matching penalty is taken.

    Attributes:
        observations: (P, O).
        actions: (P, A), noised; distances from the mode where the score is the anchor's.
        scores: (P, A), with respect to them.
        weights: (P,), 1 - abar; 1 where the score is the anchor's.
    """

    observations: jax.Array
    actions: jax.Array
    scores: jax.Array
    weights: jax.Array


def _critics(state: AgentState) -> int:
    """Ensemble size E."""
    return int(jax.tree.leaves(state.target_critic)[0].shape[0])


def _sample_policy(
    state: AgentState, observations: jax.Array, key: jax.Array, samples: int
) -> tuple[jax.Array, jax.Array]:
    """Actions (B, N, A) and log-densities (B, N) of N samples of the policy at each of (B, O) observations."""
    mean, log_std = state.actor.apply_fn(state.actor.params, observations)
    mean, log_std = (jnp.repeat(part[:, None], samples, axis=1) for part in (mean, log_std))
    return tanh_normal.sample_and_log_prob(mean, log_std, key)


def _largest_next_values(state: AgentState, batch: Batch, key: jax.Array, samples: int) -> jax.Array:
    """The largest of the target critics' minimum values at `samples` actions of the policy, (1, B)."""
    actions, _ = _sample_policy(state, batch.next_observations, key, samples)
    repeated = jnp.repeat(batch.next_observations, samples, axis=0)
    flat = actions.reshape(-1, actions.shape[-1])
    values = losses.ensemble_values(critic_apply(state), state.target_critic, repeated, flat)
    return jnp.max(jnp.min(values, axis=0).reshape(-1, samples), axis=-1)[None]


def _td_targets(state: AgentState, batch: Batch, key: jax.Array, term: TDTerm, discount: float) -> jax.Array:
    """Targets (B,)."""
    if term.bootstrap == "value":
        value = require(state.value, "value")
        next_values = value.apply_fn(value.params, batch.next_observations)[None]
        return losses.td_target(batch.rewards, batch.masks, next_values, discount)
    action_key, smoothing_key = jax.random.split(key)
    if term.samples > 1:
        next_values = _largest_next_values(state, batch, action_key, term.samples)
        return losses.td_target(batch.rewards, batch.masks, next_values, discount)
    is_sampled = term.next_action == "sample"
    actor_params = state.actor.params if is_sampled else require(state.target_actor, "target_actor")
    mean, log_std = state.actor.apply_fn(actor_params, batch.next_observations)
    if is_sampled:
        actions, log_probs = tanh_normal.sample_and_log_prob(mean, log_std, action_key)
    else:
        actions = tanh_normal.mode(mean)
        log_probs = tanh_normal.log_prob(mean, log_std, actions)
    if term.smoothing > 0:
        actions = losses.smooth_actions(actions, smoothing_key, term.smoothing, term.smoothing_clip)
    target_critic = state.target_critic
    if 0 < term.subset < _critics(state):
        # 0 and 1 are the keys of the split.
        chosen = jax.random.choice(jax.random.fold_in(key, 2), _critics(state), (term.subset,), replace=False)
        target_critic = jax.tree.map(lambda leaf: leaf[chosen], target_critic)
    values = losses.ensemble_values(critic_apply(state), target_critic, batch.next_observations, actions)
    return losses.td_target(
        batch.rewards,
        batch.masks,
        values,
        discount,
        temperature=positive_scalar(state.temperature),
        next_log_probs=log_probs if term.soft else None,
    )


def _anchor_points(batch: Batch, key: jax.Array, tail: float) -> Points:
    """Points drawn from the anchor's Gaussian, before its tails are softened, with the scores of the softened one."""
    distances = jax.random.normal(key, batch.actions.shape, batch.actions.dtype)
    scores = jax.grad(lambda points: losses.softened_log_density(points, tail).sum())(distances)
    return Points(batch.observations, distances, scores, jnp.ones(distances.shape[0]))


def _penalty_points(state: AgentState, batch: Batch, key: jax.Array, term: ScorePenaltyTerm, terms: Terms) -> Points:
    """Points of the score-matching penalty at the first states of the batch: at every noise level, or of the anchor."""
    batch = batch.share(term.batch_fraction)
    if terms.anchor_follows:
        return _anchor_points(batch, key, state.anchor_tail)
    level_key, noise_key, action_key = jax.random.split(key, 3)
    actions = batch.actions
    policy_points = round(term.policy_fraction * actions.shape[0])
    if policy_points > 0:
        mean, log_std = state.actor.apply_fn(state.actor.params, batch.observations[:policy_points])
        policy_actions, _ = tanh_normal.sample_and_log_prob(mean, log_std, action_key)
        actions = jnp.concatenate([policy_actions, actions[policy_points:]])
    log_snr = losses.sample_log_snr(level_key, actions.shape[0], terms.min_log_snr, terms.max_log_snr)
    noise = jax.random.normal(noise_key, actions.shape, actions.dtype)
    noised = losses.add_noise(actions, noise, log_snr)
    denoiser = require(state.denoiser, "denoiser")
    predicted = denoiser.apply_fn(denoiser.params, noised, batch.observations, log_snr)
    return Points(batch.observations, noised, losses.noise_to_score(predicted, log_snr), jax.nn.sigmoid(-log_snr))


def _cql_proposals(state: AgentState, batch: Batch, key: jax.Array, samples: int) -> losses.Proposals:
    """Random actions, and the policy's at the state and at the next one."""
    random_key, policy_key, next_key = jax.random.split(key, 3)
    policy, policy_log_probs = _sample_policy(state, batch.observations, policy_key, samples)
    next_policy, next_log_probs = _sample_policy(state, batch.next_observations, next_key, samples)
    random = jax.random.uniform(random_key, policy.shape, policy.dtype, -1.0, 1.0)
    return losses.Proposals(random, policy, policy_log_probs, next_policy, next_log_probs)


def _conservative_block(batch: Batch) -> int | None:
    """States whose conservative gap is differentiated together: as many as a CPU's cache holds the proposals of."""
    states = 32
    return states if jax.default_backend() == "cpu" and batch.rewards.shape[0] % states == 0 else None


def update_critic(state: AgentState, batch: Batch, key: jax.Array, terms: Terms) -> tuple[AgentState, Info]:
    """Move the critic along all its terms, and kappa and CQL's multiplier where they are learned."""
    td_key, penalty_key = jax.random.split(key)
    apply_fn, td, penalty, conservative = critic_apply(state), terms.td, terms.score_penalty, terms.conservative
    targets = _td_targets(state, batch, td_key, td, terms.discount) if td else None
    points = _penalty_points(state, batch, penalty_key, penalty, terms) if penalty else None
    cql_key = jax.random.fold_in(key, 2)
    proposals = _cql_proposals(state, batch, cql_key, conservative.samples) if conservative else None

    def value_loss(critic_params: Params) -> tuple[jax.Array, Info]:
        loss = jnp.zeros(())
        info: Info = {}
        if td and targets is not None:
            part, part_info = losses.td_error(apply_fn, critic_params, batch.observations, batch.actions, targets)
            loss, info = loss + td.weight * part, info | part_info
        if conservative and proposals is not None:
            gap, part_info = losses.cql_penalty(
                apply_fn,
                critic_params,
                batch.observations,
                batch.actions,
                proposals,
                lower_bounds=batch.mc_returns if conservative.calibrated else None,
                block=_conservative_block(batch),
            )
            multiplier = positive_scalar(state.multiplier) if conservative.lagrange else 1.0
            loss, info = loss + conservative.weight * multiplier * gap, info | part_info
        return loss, info

    gradient, info = jax.grad(value_loss, has_aux=True)(state.critic.params)
    if penalty and points is not None:
        # Taken apart from the others, which costs nothing as they share no work, so that their directions compare.
        penalty_gradient, kappa_gradient, penalty_info = _penalty_gradients(state, points, penalty, terms)
        info |= penalty_info | _compare(gradient, penalty_gradient)
        gradient = jax.tree.map(jnp.add, gradient, penalty_gradient)
        if penalty.kappa == "learned":
            state = state.replace(kappa=apply_gradients(state.kappa, kappa_gradient, state.step))
    info["critic_gradient_norm"] = optax.global_norm(gradient)
    if conservative and conservative.lagrange:
        multiplier, multiplier_info = _update_multiplier(state, info["cql_gap"], conservative.target_gap)
        state, info = state.replace(multiplier=multiplier), info | multiplier_info
    return state.replace(critic=apply_gradients(state.critic, gradient, state.step)), info


def _penalty_gradients(
    state: AgentState, points: Points, term: ScorePenaltyTerm, terms: Terms
) -> tuple[Params, Params, Info]:
    """Gradients of the score-matching penalty with respect to critic and kappa, and its info."""
    apply_fn = critic_apply_by_distance(state) if terms.anchor_follows else critic_apply(state)

    def loss_fn(critic_params: Params, kappa_params: Params) -> tuple[jax.Array, Info]:
        tied = term.kappa == "temperature"
        kappa = positive_scalar(state.temperature) if tied else jnp.exp(kappa_params["log"])
        policy_points = round(term.policy_fraction * points.actions.shape[0])
        groups = {"policy": slice(0, policy_points), "data": slice(policy_points, None)}
        if policy_points in (0, points.actions.shape[0]):
            groups = {}
        loss, info = losses.score_matching_penalty(apply_fn, critic_params, *points, kappa, groups=groups)
        return term.weight * loss, info | {"kappa": kappa}

    gradients, info = jax.grad(loss_fn, argnums=(0, 1), has_aux=True)(state.critic.params, state.kappa.params)
    return *gradients, info


def _compare(value_gradient: Params, penalty_gradient: Params) -> Info:
    """Norms of the two gradients of the critic and the cosine between them: below 0 they pull against each other."""
    norms = optax.global_norm(value_gradient), optax.global_norm(penalty_gradient)
    product = optax.tree_utils.tree_vdot(value_gradient, penalty_gradient)
    return {
        "value_gradient_norm": norms[0],
        "penalty_gradient_norm": norms[1],
        "gradient_cosine": product / (norms[0] * norms[1] + 1e-8),
    }


def _update_multiplier(state: AgentState, gap: jax.Array, target_gap: float) -> tuple[TrainState, Info]:
    def loss_fn(params: Params) -> tuple[jax.Array, Info]:
        return losses.gap_multiplier(params["log"], gap, target_gap)

    gradients, info = jax.grad(loss_fn, has_aux=True)(state.multiplier.params)
    return apply_gradients(state.multiplier, gradients, state.step), info
