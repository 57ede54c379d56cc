"""Expectile regression of a state-value function, and the policy that follows its advantages (IQL)."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from smac_jax.networks import tanh_normal
from smac_jax.types import Info, Params


def expectile(differences: jax.Array, level: float) -> jax.Array:
    """Asymmetric square |level - 1(d < 0)| d^2 of each difference; at level 1/2 it is half the square."""
    return jnp.where(differences < 0, 1.0 - level, level) * differences**2


def expectile_value(
    value_apply: Callable[..., jax.Array],
    value_params: Params,
    observations: jax.Array,
    action_values: jax.Array,
    *,
    level: float = 0.7,
) -> tuple[jax.Array, Info]:
    """Fit V(s) to an expectile of Q(s, a) over the data (IQL, Kostrikov et al., 2021, arXiv 2110.06169, eq. 5).

    Args:
        value_apply: `value_apply(params, observations) -> (B,)`.
        value_params: to differentiate.
        observations: (B, O).
        action_values: (B,), values of the dataset's actions; held constant.
        level: of the expectile; 1/2 is the mean, towards 1 the maximum.

    Returns:
        Loss and info.
    """
    chex.assert_rank([observations, action_values], [2, 1])
    values = value_apply(value_params, observations)
    chex.assert_equal_shape((values, action_values))
    loss = jnp.mean(expectile(jax.lax.stop_gradient(action_values) - values, level))
    return loss, {"value_loss": loss, "value": jnp.mean(values)}


def advantage_weighted_actor(
    actor_apply: Callable[..., tuple[jax.Array, jax.Array]],
    actor_params: Params,
    observations: jax.Array,
    actions: jax.Array,
    advantages: jax.Array,
    *,
    inverse_temperature: float = 3.0,
    max_weight: float = 100.0,
) -> tuple[jax.Array, Info]:
    """Imitation of the batch's actions, weighted by exp(beta A(s, a)) (IQL, arXiv 2110.06169, eq. 7).

    Args:
        actor_apply: see the package docstring.
        actor_params: to differentiate.
        observations: (B, O).
        actions: (B, A) in [-1, 1].
        advantages: (B,), Q(s, a) - V(s); held constant.
        inverse_temperature: beta, per unit of value.
        max_weight: bound on the weights.

    Returns:
        Loss and info.
    """
    chex.assert_rank([observations, actions, advantages], [2, 2, 1])
    log_probs = tanh_normal.log_prob(*actor_apply(actor_params, observations), actions)
    chex.assert_equal_shape((log_probs, advantages))
    weights = jnp.minimum(jnp.exp(inverse_temperature * jax.lax.stop_gradient(advantages)), max_weight)
    loss = -jnp.mean(weights * log_probs)
    info = {"awr_loss": loss, "advantage": jnp.mean(advantages), "advantage_weight": jnp.mean(weights)}
    return loss, info
