"""Terms of the actor's loss: SAC, TD3, behaviour cloning and score distillation."""

from collections.abc import Callable
from typing import Literal

import chex
import jax
import jax.numpy as jnp

from smac_jax.losses.critic import ensemble_values
from smac_jax.losses.score import add_noise, sample_log_snr
from smac_jax.networks import tanh_normal
from smac_jax.types import Info, Params

Reduction = Literal["min", "mean", "first"]


def _reduce(values: jax.Array, reduction: Reduction) -> jax.Array:
    """Reduce ensemble values (E, B) to (B,)."""
    if reduction == "min":
        return jnp.min(values, axis=0)
    if reduction == "mean":
        return jnp.mean(values, axis=0)
    return values[0]


def sac_actor(
    actor_apply: Callable[..., tuple[jax.Array, jax.Array]],
    actor_params: Params,
    critic_apply: Callable[..., jax.Array],
    critic_params: Params,
    observations: jax.Array,
    temperature: jax.Array,
    key: jax.Array,
    *,
    reduction: Reduction = "min",
    antithetic: bool = False,
) -> tuple[jax.Array, Info]:
    """Maximum-entropy policy loss E[alpha log pi(a|s) - Q(s, a)] (Haarnoja et al., 2018, arXiv 1812.05905, eq. 7).

    Args:
        actor_apply: see the package docstring.
        actor_params: to differentiate.
        critic_apply: one critic.
        critic_params: ensemble of E critics.
        observations: (B, O).
        temperature: alpha, scalar.
        key: PRNG key for the policy's sample.
        reduction: over the ensemble: `min` (SAC), `mean` (RLPD) or `first`.
        antithetic: estimate the same expectation from two samples a state that lie opposite each other before the
            tanh. At the mode of values that are symmetric there their gradients of the mean cancel, where those of
            single samples are noise as large as the values are steep.

    Returns:
        Loss and info; `entropy` is the sample estimate -E[log pi].
    """
    chex.assert_rank(observations, 2)
    mean, log_std = actor_apply(actor_params, observations)
    if antithetic:
        actions, log_probs = tanh_normal.antithetic_pairs_and_log_prob(mean, log_std, key)
        observations = jnp.concatenate([observations, observations])
    else:
        actions, log_probs = tanh_normal.sample_and_log_prob(mean, log_std, key)
    values = _reduce(ensemble_values(critic_apply, critic_params, observations, actions), reduction)
    chex.assert_equal_shape((values, log_probs))
    loss = jnp.mean(jax.lax.stop_gradient(temperature) * log_probs - values)
    info = {"sac_actor_loss": loss, "entropy": -jnp.mean(log_probs), "q_policy": jnp.mean(values)}
    return loss, info


def td3_actor(
    actor_apply: Callable[..., tuple[jax.Array, jax.Array]],
    actor_params: Params,
    critic_apply: Callable[..., jax.Array],
    critic_params: Params,
    observations: jax.Array,
    *,
    reduction: Reduction = "first",
    normalize: bool = False,
) -> tuple[jax.Array, Info]:
    """Deterministic policy loss -E[Q(s, tanh(mean(s)))] (TD3, Fujimoto et al., 2018, arXiv 1802.09477).

    Args:
        actor_apply: see the package docstring; only the mode is used.
        actor_params: to differentiate.
        critic_apply: one critic.
        critic_params: ensemble of E critics.
        observations: (B, O).
        reduction: over the ensemble; TD3 takes the `first` critic.
        normalize: divide by E|Q| of the batch (TD3+BC, Fujimoto & Gu, 2021, arXiv 2106.06860, eq. 5).

    Returns:
        Loss and info.
    """
    chex.assert_rank(observations, 2)
    actions = tanh_normal.mode(actor_apply(actor_params, observations)[0])
    values = _reduce(ensemble_values(critic_apply, critic_params, observations, actions), reduction)
    loss = -jnp.mean(values)
    if normalize:
        loss = loss / (jax.lax.stop_gradient(jnp.mean(jnp.abs(values))) + 1e-8)
    return loss, {"td3_actor_loss": loss, "q_policy": jnp.mean(values)}


def behavior_cloning(
    actor_apply: Callable[..., tuple[jax.Array, jax.Array]],
    actor_params: Params,
    observations: jax.Array,
    actions: jax.Array,
    *,
    loss_type: Literal["mse", "log_prob"] = "mse",
) -> tuple[jax.Array, Info]:
    """Imitation of the batch's actions.

    Args:
        actor_apply: see the package docstring.
        actor_params: to differentiate.
        observations: (B, O).
        actions: (B, A) in [-1, 1].
        loss_type: `mse` of the mode, averaged over batch and action dimensions (TD3+BC's term), or the negative
            `log_prob` of the tanh-Gaussian, averaged over the batch.

    Returns:
        Loss and info.
    """
    chex.assert_rank([observations, actions], 2)
    mean, log_std = actor_apply(actor_params, observations)
    chex.assert_equal_shape((mean, actions))
    if loss_type == "mse":
        loss = jnp.mean((tanh_normal.mode(mean) - actions) ** 2)
    else:
        loss = -jnp.mean(tanh_normal.log_prob(mean, log_std, actions))
    return loss, {"bc_loss": loss}


def score_distillation(
    actor_apply: Callable[..., tuple[jax.Array, jax.Array]],
    actor_params: Params,
    denoiser_apply: Callable[..., jax.Array],
    denoiser_params: Params,
    observations: jax.Array,
    key: jax.Array,
    *,
    min_log_snr: float = -1.0,
    max_log_snr: float = 6.0,
) -> tuple[jax.Array, Info]:
    """Pull the policy's actions along the dataset's score (SRPO, Chen et al., 2023, arXiv 2310.07297, eq. 10).

    The value of the loss is meaningless; its gradient with respect to the action is
    w(level) (eps(z, s, level) - e) with w = 1 - abar, the score-distillation direction.

    Args:
        actor_apply: see the package docstring.
        actor_params: to differentiate.
        denoiser_apply: see the package docstring.
        denoiser_params: held constant.
        observations: (B, O).
        key: PRNG key for action, level and noise.
        min_log_snr: noisiest level.
        max_log_snr: cleanest level.

    Returns:
        Loss and info; `distillation_norm` is the mean norm of the direction.
    """
    chex.assert_rank(observations, 2)
    action_key, level_key, noise_key = jax.random.split(key, 3)
    actions, _ = tanh_normal.sample_and_log_prob(*actor_apply(actor_params, observations), action_key)
    log_snr = sample_log_snr(level_key, actions.shape[0], min_log_snr, max_log_snr)
    noise = jax.random.normal(noise_key, actions.shape, actions.dtype)
    predicted = denoiser_apply(denoiser_params, add_noise(actions, noise, log_snr), observations, log_snr)
    direction = jax.lax.stop_gradient(jax.nn.sigmoid(-log_snr)[:, None] * (predicted - noise))
    loss = jnp.mean(jnp.sum(direction * actions, axis=-1))
    return loss, {"distillation_norm": jnp.mean(jnp.linalg.norm(direction, axis=-1))}
