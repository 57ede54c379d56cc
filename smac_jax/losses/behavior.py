"""The data's action density in closed form, and a critic whose action-gradient has its score built in."""

import math
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from smac_jax.types import Info, Params

_TAIL = 3.0


def behavior_likelihood(
    behavior_apply: Callable[..., tuple[jax.Array, jax.Array]],
    behavior_params: Params,
    observations: jax.Array,
    actions: jax.Array,
) -> tuple[jax.Array, Info]:
    """Negative log-likelihood of the data's actions under a diagonal Gaussian.

    Args:
        behavior_apply: see the package docstring.
        behavior_params: to differentiate.
        observations: (B, O).
        actions: (B, A) in [-1, 1].

    Returns:
        Loss in nats, summed over action dimensions and averaged over the batch, and info.
    """
    chex.assert_rank([observations, actions], 2)
    mean, log_std = behavior_apply(behavior_params, observations)
    chex.assert_equal_shape((mean, log_std, actions))
    squares = ((actions - mean) * jnp.exp(-log_std)) ** 2
    loss = jnp.mean(jnp.sum(0.5 * (squares + math.log(2 * math.pi)) + log_std, axis=-1))
    return loss, {"behavior_loss": loss}


def softened_log_density(mean: jax.Array, log_std: jax.Array, actions: jax.Array) -> jax.Array:
    """A Gaussian's log-density with softened tails, less that of its mode.

    With z the distance in standard deviations it is -c/2 log(1 + z^2 / c), summed over dimensions, c = 3: near the mode
    -z^2 / 2, and far away its gradient falls with the distance, as the score does of data to which noise of that size
    was added. It is the Lorentzian of robust statistics (Black and Anandan, 1996).

    Args:
        mean: (..., A).
        log_std: (..., A), natural logarithm.
        actions: (..., A).

    Returns:
        (...), in nats, at most 0.
    """
    chex.assert_equal_shape((mean, log_std, actions))
    squares = ((actions - mean) * jnp.exp(-log_std)) ** 2
    return -0.5 * _TAIL * jnp.sum(jnp.log1p(squares / _TAIL), axis=-1)


def anchored_critic(
    critic_apply: Callable[..., jax.Array],
    behavior_apply: Callable[..., tuple[jax.Array, jax.Array]],
    behavior_params: Params,
    kappa: jax.Array,
) -> Callable[..., jax.Array]:
    """The critic f(s, a) + kappa log p(a|s), f being the network and p the data's density as `softened_log_density`.

    Its action-gradient is kappa times the score before f has learned anything, and differs from it by what f learns
    from rewards; a network that was only fitted to the field loses it within a few hundred updates by temporal
    differences alone. Fisher-BRC (Kostrikov et al., 2021, arXiv 2103.08050) writes its offline critic as such a sum.

    Args:
        critic_apply: one critic's f, see the package docstring.
        behavior_apply: see the package docstring.
        behavior_params: held constant.
        kappa: scalar, value units for one nat; held constant.

    Returns:
        A function with the arguments of `critic_apply` and the same parameters, for the same losses.
    """

    def apply(critic_params: Params, observations: jax.Array, actions: jax.Array) -> jax.Array:
        mean, log_std = jax.lax.stop_gradient(behavior_apply(behavior_params, observations))
        density = softened_log_density(mean, log_std, actions)
        return critic_apply(critic_params, observations, actions) + jax.lax.stop_gradient(kappa) * density

    return apply
