"""Temporal-difference targets and errors."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from smac_jax.types import Info, Params


def ensemble_values(
    critic_apply: Callable[..., jax.Array],
    critic_params: Params,
    observations: jax.Array,
    actions: jax.Array,
) -> jax.Array:
    """Values (E, B) of an ensemble at observations (B, O) and actions (B, A)."""
    chex.assert_rank([observations, actions], 2)
    return jax.vmap(critic_apply, in_axes=(0, None, None))(critic_params, observations, actions)


def smooth_actions(actions: jax.Array, key: jax.Array, noise: float, noise_clip: float) -> jax.Array:
    """Target policy smoothing (TD3, Fujimoto et al., 2018, arXiv 1802.09477, eq. 14).

    Args:
        actions: (B, A) in [-1, 1].
        key: PRNG key.
        noise: standard deviation of the Gaussian noise.
        noise_clip: bound on the noise's absolute value.

    Returns:
        Noised actions (B, A), clipped to [-1, 1].
    """
    chex.assert_rank(actions, 2)
    perturbation = noise * jax.random.normal(key, actions.shape, actions.dtype)
    return jnp.clip(actions + jnp.clip(perturbation, -noise_clip, noise_clip), -1.0, 1.0)


def td_target(
    rewards: jax.Array,
    masks: jax.Array,
    next_values: jax.Array,
    discount: float,
    *,
    temperature: jax.Array | float = 0.0,
    next_log_probs: jax.Array | None = None,
) -> jax.Array:
    """One-step target r + discount * mask * (min_e Q_e(s', a') - temperature * log pi(a'|s')).

    With `next_log_probs` this is SAC's soft target (Haarnoja et al., 2018, arXiv 1812.05905, eq. 3), without it
    TD3's (Fujimoto et al., 2018).

    Args:
        rewards: (B,).
        masks: (B,), 0 at terminations and 1 elsewhere, truncations included.
        next_values: (E, B), target critics at the next action; the minimum over E is taken.
        discount: gamma.
        temperature: alpha, in units of reward per nat.
        next_log_probs: (B,) or None for no entropy bonus.

    Returns:
        Targets (B,), cut off from the gradient.
    """
    chex.assert_rank([rewards, masks, next_values], [1, 1, 2])
    value = jnp.min(next_values, axis=0)
    chex.assert_equal_shape((rewards, masks, value))
    if next_log_probs is not None:
        chex.assert_equal_shape((value, next_log_probs))
        value = value - temperature * next_log_probs
    return jax.lax.stop_gradient(rewards + discount * masks * value)


def td_error(
    critic_apply: Callable[..., jax.Array],
    critic_params: Params,
    observations: jax.Array,
    actions: jax.Array,
    targets: jax.Array,
) -> tuple[jax.Array, Info]:
    """Mean squared temporal-difference error of every critic.

    Args:
        critic_apply: one critic, see the package docstring.
        critic_params: ensemble of E critics, to differentiate.
        observations: (B, O).
        actions: (B, A).
        targets: (B,).

    Returns:
        Loss, averaged over batch and ensemble, and info.
    """
    chex.assert_rank(targets, 1)
    values = ensemble_values(critic_apply, critic_params, observations, actions)
    chex.assert_equal_shape_suffix((values, targets), 1)
    loss = jnp.mean((values - targets[None]) ** 2)
    info = {
        "td_loss": loss,
        "q_data": jnp.mean(values),
        "q_data_min": jnp.min(values),
        "q_data_max": jnp.max(values),
        "td_target": jnp.mean(targets),
    }
    return loss, info
