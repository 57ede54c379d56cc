"""A critic whose action-gradient has the score of a policy built in."""

import math
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from smac_jax.networks import tanh_normal
from smac_jax.types import Params

STD_MIN = 0.1
"""Smallest spread, in units of the action: a tenth of the way from no action to the largest. A critic whose values fall
faster than that beside the policy leaves its actor no step that does not overshoot."""
_TAIL = 3.0


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
    actor_apply: Callable[..., tuple[jax.Array, jax.Array]],
    anchor_params: Params,
    kappa: jax.Array,
) -> Callable[..., jax.Array]:
    """The critic f(s, a) + kappa log p(a|s): f is the network, p the anchor's policy as `softened_log_density`.

    The policy's density is taken in the action space, around its mode with its spread to first order, of at least
    `STD_MIN`: before the tanh, the density of actions near their bounds has no bound, and neither has its score. The
    action-gradient is kappa times the score before f has learned anything, zero at the mode, and differs from it by
    what f learns from rewards; a network that was only fitted to the field loses it within a few hundred updates by
    temporal differences alone. Fisher-BRC (Kostrikov et al., 2021, arXiv 2103.08050) writes its offline critic as such
    a sum.

    Args:
        critic_apply: one critic's f, see the package docstring.
        actor_apply: see the package docstring.
        anchor_params: the actor's, held constant.
        kappa: scalar, value units for one nat; held constant.

    Returns:
        A function with the arguments of `critic_apply` and the same parameters, for the same losses.
    """

    def apply(critic_params: Params, observations: jax.Array, actions: jax.Array) -> jax.Array:
        mean, log_std = jax.lax.stop_gradient(actor_apply(anchor_params, observations))
        mode, log_spread = tanh_normal.linearized(mean, log_std)
        density = softened_log_density(mode, jnp.maximum(log_spread, math.log(STD_MIN)), actions)
        return critic_apply(critic_params, observations, actions) + jax.lax.stop_gradient(kappa) * density

    return apply
