"""A critic whose action-gradient has the score of a policy built in."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from smac_jax.networks import tanh_normal
from smac_jax.types import Params

STD_MIN = 0.1
"""Smallest spread, in units of the action: a tenth of the way from no action to the largest. A critic whose values fall
faster than that beside the policy leaves its actor no step that does not overshoot."""
TAIL = 0.3
"""Default `tail` of `softened_log_density`."""

CriticApply = Callable[..., jax.Array]
ActorApply = Callable[..., tuple[jax.Array, jax.Array]]


def softened_log_density(distances: jax.Array, tail: float = TAIL) -> jax.Array:
    """A Gaussian's log-density with softened tails, less that of its mode.

    With z the distance in standard deviations it is -c/2 log(1 + z^2 / c), summed over dimensions, c the `tail`: near
    the mode -z^2 / 2, and far away its gradient falls with the distance. It is the Lorentzian of robust statistics
    (Black and Anandan, 1996). With a tail of 1 and less its exponential has no finite integral: it is a potential that
    has a Gaussian's score near the mode, not a density to sample from.

    Args:
        distances: (..., A), from the mode, in standard deviations.
        tail: square of the distance from which on it falls like a power of it, positive. Where temporal differences
            contradict it, far from the mode, a small one costs little; near the mode it is as steep as any.

    Returns:
        (...), in nats, at most 0.
    """
    return -0.5 * tail * jnp.sum(jnp.log1p(distances**2 / tail), axis=-1)


def anchor_scale(mean: jax.Array, log_std: jax.Array) -> jax.Array:
    """Standard deviation (..., A) of a policy before its tanh: at least as far as changes the action by `STD_MIN`.

    That distance is measured from the mode inwards, towards no action: outwards, or to first order, it has no bound
    where actions are pressed against theirs, and a density as wide as that would hold nothing there.

    Args:
        mean: (..., A), before the tanh.
        log_std: (..., A), natural logarithm.
    """
    chex.assert_equal_shape((mean, log_std))
    size = jnp.abs(mean)
    return jnp.maximum(jnp.exp(log_std), size - tanh_normal.inverse(jnp.tanh(size) - STD_MIN))


def _mean_and_scale(
    actor_apply: ActorApply, anchor_params: Params, observations: jax.Array, points: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean and scale of the anchor, whose shape is that of the points."""
    mean, log_std = jax.lax.stop_gradient(actor_apply(anchor_params, observations))
    chex.assert_equal_shape((mean, points))
    return mean, anchor_scale(mean, log_std)


def anchored_critic(
    critic_apply: CriticApply,
    actor_apply: ActorApply,
    anchor_params: Params,
    kappa: jax.Array,
    tail: float = TAIL,
) -> CriticApply:
    """The critic f(s, a) + kappa log p(a|s): f is the network, p the anchor's policy as `softened_log_density`.

    Distances are measured before the tanh, where samples of the policy lie alike on both sides of its mode: in a field
    that is symmetric behind it they would not, and an actor that is trained by samples would move its mode to make up
    for that. The tanh's own part of the density is left out, as it has no bound where actions are pressed against
    theirs. The action-gradient is kappa times the score before f has learned anything, zero at the mode, and differs
    from it by what f learns from rewards; a network that was only fitted to the field loses it within a few hundred
    updates by temporal differences alone. Fisher-BRC (Kostrikov et al., 2021, arXiv 2103.08050) writes its offline
    critic as such a sum.

    Args:
        critic_apply: one critic's f, see the package docstring.
        actor_apply: see the package docstring.
        anchor_params: the actor's, held constant.
        kappa: scalar, value units for one nat; held constant.
        tail: see `softened_log_density`.

    Returns:
        A function with the arguments of `critic_apply` and the same parameters, for the same losses.
    """

    def apply(critic_params: Params, observations: jax.Array, actions: jax.Array) -> jax.Array:
        mean, scale = _mean_and_scale(actor_apply, anchor_params, observations, actions)
        distances = (tanh_normal.inverse(actions) - mean) / scale
        values = critic_apply(critic_params, observations, actions)
        return values + jax.lax.stop_gradient(kappa) * softened_log_density(distances, tail)

    return apply


def anchored_critic_by_distance(
    critic_apply: CriticApply,
    actor_apply: ActorApply,
    anchor_params: Params,
    kappa: jax.Array,
    tail: float = TAIL,
) -> CriticApply:
    """`anchored_critic` as a function of distances (..., A) from the anchor's mode in place of actions.

    In these units, standard deviations before the tanh, the score matching penalty weighs every dimension alike and
    the score is that of `softened_log_density`, whichever state: the residual is the gradient of f.
    """

    def apply(critic_params: Params, observations: jax.Array, distances: jax.Array) -> jax.Array:
        mean, scale = _mean_and_scale(actor_apply, anchor_params, observations, distances)
        values = critic_apply(critic_params, observations, jnp.tanh(mean + scale * distances))
        return values + jax.lax.stop_gradient(kappa) * softened_log_density(distances, tail)

    return apply


def mode_distance(
    actor_apply: ActorApply, actor_params: Params, anchor_params: Params, observations: jax.Array
) -> jax.Array:
    """How far a policy's mode has moved from the anchor's: root mean square, in the anchor's standard deviations.

    Args:
        actor_apply: see the package docstring.
        actor_params: the policy's.
        anchor_params: the anchor's.
        observations: (B, O).

    Returns:
        Scalar, over states and dimensions alike.
    """
    chex.assert_rank(observations, 2)
    mean, _ = actor_apply(actor_params, observations)
    anchor_mean, scale = _mean_and_scale(actor_apply, anchor_params, observations, mean)
    return jnp.sqrt(jnp.mean(((mean - anchor_mean) / scale) ** 2))
