"""The distribution of tanh(x) for a diagonal Gaussian x, as pure functions of its mean and log spread."""

import chex
import jax
import jax.numpy as jnp

_ACTION_LIMIT = 1.0 - 1e-6


def mode(mean: jax.Array) -> jax.Array:
    """Deterministic action tanh(mean), (..., A): the image of the Gaussian's mode."""
    return jnp.tanh(mean)


def inverse(actions: jax.Array) -> jax.Array:
    """What the tanh maps to actions (..., A); those at the bounds are moved 1e-6 inside."""
    return jnp.arctanh(jnp.clip(actions, -_ACTION_LIMIT, _ACTION_LIMIT))


def log_jacobian(x: jax.Array) -> jax.Array:
    """log(1 - tanh(x)^2) by element, in a form that does not overflow for large |x|."""
    return 2.0 * (jnp.log(2.0) - x - jax.nn.softplus(-2.0 * x))


def _log_prob_before_tanh(mean: jax.Array, log_std: jax.Array, x: jax.Array) -> jax.Array:
    normalized = (x - mean) * jnp.exp(-log_std)
    gaussian = -0.5 * normalized**2 - log_std - 0.5 * jnp.log(2 * jnp.pi)
    return jnp.sum(gaussian - log_jacobian(x), axis=-1)


def _from_noise(mean: jax.Array, log_std: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    x = mean + jnp.exp(log_std) * noise
    return jnp.tanh(x), _log_prob_before_tanh(mean, log_std, x)


def sample_and_log_prob(mean: jax.Array, log_std: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draw reparameterised actions and their log-density.

    Args:
        mean: (..., A), before the tanh.
        log_std: (..., A), natural logarithm.
        key: PRNG key.

    Returns:
        Actions (..., A) in (-1, 1) and log-densities (...) with respect to the action.
    """
    chex.assert_equal_shape((mean, log_std))
    return _from_noise(mean, log_std, jax.random.normal(key, mean.shape, mean.dtype))


def antithetic_pairs_and_log_prob(mean: jax.Array, log_std: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draw pairs of actions that lie opposite each other before the tanh, and their log-density.

    Args:
        mean: (B, A), before the tanh.
        log_std: (B, A), natural logarithm.
        key: PRNG key; the first half is what `sample_and_log_prob` draws with it.

    Returns:
        Actions (2B, A) in (-1, 1), action B + i opposite action i, and log-densities (2B,) with respect to the action.
    """
    chex.assert_rank(mean, 2)
    chex.assert_equal_shape((mean, log_std))
    noise = jax.random.normal(key, mean.shape, mean.dtype)
    mean, log_std = (jnp.concatenate([part, part]) for part in (mean, log_std))
    return _from_noise(mean, log_std, jnp.concatenate([noise, -noise]))


def log_prob(mean: jax.Array, log_std: jax.Array, actions: jax.Array) -> jax.Array:
    """Log-density (...) of given actions (..., A); actions at the bounds are moved 1e-6 inside."""
    chex.assert_equal_shape((mean, log_std, actions))
    return _log_prob_before_tanh(mean, log_std, inverse(actions))
