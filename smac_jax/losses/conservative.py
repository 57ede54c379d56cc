"""The conservative penalty of CQL, and Cal-QL's calibration of it."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from smac_jax.losses.blocks import mean_in_blocks
from smac_jax.losses.critic import ensemble_values
from smac_jax.types import Info, Params


class Proposals(NamedTuple):
    """Actions at which the log-sum-exp of the values is estimated, all held constant.

    Attributes:
        random: (B, N, A), uniform in [-1, 1].
        policy: (B, N, A), of the policy at the state.
        policy_log_probs: (B, N).
        next_policy: (B, N, A), of the policy at the next state.
        next_policy_log_probs: (B, N).
    """

    random: jax.Array
    policy: jax.Array
    policy_log_probs: jax.Array
    next_policy: jax.Array
    next_policy_log_probs: jax.Array


def cql_penalty(
    critic_apply: Callable[..., jax.Array],
    critic_params: Params,
    observations: jax.Array,
    actions: jax.Array,
    proposals: Proposals,
    *,
    lower_bounds: jax.Array | None = None,
    block: int | None = None,
) -> tuple[jax.Array, Info]:
    """Conservative gap E[log sum_i exp(Q(s, a_i)) / p(a_i) - Q(s, a)] (CQL(H), Kumar et al., 2020, arXiv 2006.04779).

    The sum runs over the 3 N proposals, each weighted by its own density p (importance sampling). As in the published
    implementations it is a sum and not a mean, which moves the gap by the constant log(3 N).

    Cal-QL (Nakamoto et al., 2023, arXiv 2303.05479, eq. 5.1) does not push values of the policy's actions below the
    return that the data reached from the same state: they enter as max(Q, lower bound), those of random actions as
    they are.

    Args:
        critic_apply: one critic, see the package docstring.
        critic_params: ensemble of E critics, to differentiate.
        observations: (B, O).
        actions: (B, A), of the dataset.
        proposals: see `Proposals`; also the next state's are evaluated at the state itself.
        lower_bounds: (B,), Monte-Carlo returns, -inf where none is known; None for CQL.
        block: states whose proposals are evaluated and differentiated together; must divide B. None is all of them,
            which suits accelerators; on a CPU, blocks that fit its cache take about half of the time.

    Returns:
        Gap, averaged over batch and ensemble, and info.
    """
    chex.assert_rank([observations, actions, proposals.random, proposals.policy_log_probs], [2, 2, 3, 2])
    chex.assert_equal_shape((proposals.random, proposals.policy, proposals.next_policy))
    chex.assert_equal_shape((proposals.policy_log_probs, proposals.next_policy_log_probs))
    batch, _, action_dim = proposals.random.shape
    chex.assert_shape(actions, (batch, action_dim))
    calibrated = lower_bounds is not None
    if lower_bounds is None:
        lower_bounds = jnp.full(batch, -jnp.inf)
    chex.assert_shape(lower_bounds, (batch,))

    def gap(params: Params, *columns: jax.Array) -> tuple[jax.Array, Info]:
        observations, actions, lower_bounds, *drawn = columns
        return _gap(critic_apply, params, observations, actions, Proposals(*drawn), lower_bounds, calibrated)

    arrays = jax.lax.stop_gradient((observations, actions, lower_bounds, *proposals))
    loss, info = mean_in_blocks(gap, critic_params, arrays, block) if block else gap(critic_params, *arrays)
    return loss, info | {"cql_gap": loss}


def _gap(
    critic_apply: Callable[..., jax.Array],
    critic_params: Params,
    observations: jax.Array,
    actions: jax.Array,
    proposals: Proposals,
    lower_bounds: jax.Array,
    calibrated: bool,
) -> tuple[jax.Array, Info]:
    """`cql_penalty` of one block of states."""
    batch, count, action_dim = proposals.random.shape
    candidates = jnp.concatenate([proposals.random, proposals.policy, proposals.next_policy], axis=1)
    repeated = jnp.repeat(observations, 3 * count, axis=0)
    values = ensemble_values(critic_apply, critic_params, repeated, candidates.reshape(-1, action_dim))
    values = values.reshape(-1, batch, 3 * count)
    info: Info = {}
    if calibrated:
        bounds = jnp.concatenate(
            [jnp.full((batch, count), -jnp.inf), jnp.repeat(lower_bounds[:, None], 2 * count, axis=1)], axis=1
        )
        info["calibrated_share"] = jnp.mean(values[:, :, count:] < bounds[None, :, count:])
        values = jnp.maximum(values, bounds)
    uniform = jnp.full((batch, count), -action_dim * jnp.log(2.0))
    log_densities = jnp.concatenate([uniform, proposals.policy_log_probs, proposals.next_policy_log_probs], axis=1)
    pushed_down = jax.nn.logsumexp(values - log_densities, axis=-1)
    pushed_up = ensemble_values(critic_apply, critic_params, observations, actions)
    return jnp.mean(pushed_down - pushed_up), info


def gap_multiplier(log_multiplier: jax.Array, gap: jax.Array, target_gap: float) -> tuple[jax.Array, Info]:
    """Lagrange multiplier that holds the conservative gap at its target (CQL, arXiv 2006.04779, appendix F).

    Args:
        log_multiplier: scalar to differentiate; the multiplier is its exponential.
        gap: scalar, held constant.
        target_gap: in units of value.

    Returns:
        Loss, whose gradient raises the multiplier while the gap exceeds its target, and info.
    """
    chex.assert_rank([log_multiplier, gap], 0)
    multiplier = jnp.exp(log_multiplier)
    loss = -multiplier * (jax.lax.stop_gradient(gap) - target_gap)
    return loss, {"cql_multiplier": multiplier}
