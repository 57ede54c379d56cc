"""Other ways to the gradient of the score-matching penalty, to be measured beside the one that training uses.

With g = grad_a Q(s, z), t = kappa * score, E critics and P points, the penalty is the mean over points and critics of
w ||g - t||^2. Its gradient with respect to the critics' parameters is that of v . g with v = 2 w (g - t) / (E P) held
constant, and v . g is the derivative of Q along v: the exact forms differ only in the order of differentiation.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from smac_jax import losses
from smac_jax.types import Params

Apply = Callable[..., jax.Array]


class PenaltyPoints(NamedTuple):
    """What `losses.score_matching_penalty` is taken at.

    Attributes:
        observations: (P, O).
        actions: (P, A).
        scores: (P, A).
        weights: (P,).
        kappa: scalar.
    """

    observations: jax.Array
    actions: jax.Array
    scores: jax.Array
    weights: jax.Array
    kappa: jax.Array


Form = Callable[[Apply, Params, PenaltyPoints, jax.Array], Params]


def reverse_over_reverse(apply_fn: Apply, params: Params, points: PenaltyPoints, _: jax.Array) -> Params:
    """What training does: reverse mode through `losses.score_matching_penalty`, which is reverse mode itself."""
    return jax.grad(lambda params: losses.score_matching_penalty(apply_fn, params, *points)[0])(params)


def _direction(apply_fn: Apply, params: Params, points: PenaltyPoints) -> jax.Array:
    """The vector v of the module's docstring, (E, P, A)."""
    gradients = losses.action_gradient(apply_fn, params, points.observations, points.actions)
    residual = gradients - points.kappa * points.scores
    return 2.0 * points.weights[:, None] * residual / (residual.shape[0] * residual.shape[1])


def _summed_values(params: Params, apply_fn: Apply, observations: jax.Array, actions: jax.Array) -> jax.Array:
    """Sum over critics and points of each critic's values at actions (E, P, A) of its own."""
    return jnp.sum(jax.vmap(apply_fn, in_axes=(0, None, 0))(params, observations, actions))


def forward_over_reverse(apply_fn: Apply, params: Params, points: PenaltyPoints, _: jax.Array) -> Params:
    """Derivative along v, by forward mode, of Q's gradient with respect to the parameters."""
    v = _direction(apply_fn, params, points)
    actions = jnp.broadcast_to(points.actions, v.shape)

    def gradient(actions: jax.Array) -> Params:
        return jax.grad(_summed_values)(params, apply_fn, points.observations, actions)

    return jax.jvp(gradient, (actions,), (v,))[1]


def reverse_over_forward(apply_fn: Apply, params: Params, points: PenaltyPoints, _: jax.Array) -> Params:
    """Reverse mode through Q's derivative along v, which is forward mode."""
    v = _direction(apply_fn, params, points)
    actions = jnp.broadcast_to(points.actions, v.shape)

    def slope(params: Params) -> jax.Array:
        def value(actions: jax.Array) -> jax.Array:
            return _summed_values(params, apply_fn, points.observations, actions)

        return jax.jvp(value, (actions,), (v,))[1]

    return jax.grad(slope)(params)


def finite_difference(
    apply_fn: Apply, params: Params, points: PenaltyPoints, _: jax.Array, distance: float = 1e-2
) -> Params:
    """Central difference along v, over `distance` at most, of Q's gradient: no second derivatives, but not exact."""
    v = _direction(apply_fn, params, points)
    scale = distance / (jnp.max(jnp.linalg.norm(v, axis=-1)) + 1e-12)

    def gradient(actions: jax.Array) -> Params:
        return jax.grad(_summed_values)(params, apply_fn, points.observations, actions)

    ahead, behind = gradient(points.actions + scale * v), gradient(points.actions - scale * v)
    return jax.tree.map(lambda a, b: (a - b) / (2.0 * scale), ahead, behind)


def sliced(apply_fn: Apply, params: Params, points: PenaltyPoints, key: jax.Array) -> Params:
    """Squared residual along a random direction u of N(0, I) at each point: unbiased, as E (u . r)^2 = ||r||^2.

    Song et al., 2020, arXiv 1905.07088, slice a score-matching loss in the same way.
    """
    u = jax.random.normal(key, points.actions.shape)

    def loss(params: Params) -> jax.Array:
        def values(actions: jax.Array) -> jax.Array:
            return losses.ensemble_values(apply_fn, params, points.observations, actions)

        slopes = jax.jvp(values, (points.actions,), (u,))[1]
        targets = points.kappa * jnp.sum(u * points.scores, axis=-1)
        return jnp.mean(points.weights * (slopes - targets) ** 2)

    return jax.grad(loss)(params)


FORMS: dict[str, Form] = {
    "reverse over reverse": reverse_over_reverse,
    "forward over reverse": forward_over_reverse,
    "reverse over forward": reverse_over_forward,
    "finite difference": finite_difference,
    "sliced": sliced,
}
"""By name; training's own is first."""
