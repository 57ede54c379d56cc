"""The score-matching penalty: the critic's action-gradient follows the score of the dataset's actions."""

from collections.abc import Callable, Mapping

import chex
import jax
import jax.numpy as jnp

from smac_jax.types import Info, Params


def action_gradient(
    critic_apply: Callable[..., jax.Array],
    critic_params: Params,
    observations: jax.Array,
    actions: jax.Array,
) -> jax.Array:
    """Gradient of each critic's value with respect to the action.

    Args:
        critic_apply: one critic, see the package docstring.
        critic_params: ensemble of E critics.
        observations: (B, O).
        actions: (B, A).

    Returns:
        (E, B, A).
    """
    chex.assert_rank([observations, actions], 2)

    def summed_value(params: Params, actions: jax.Array) -> jax.Array:
        # Rows are independent, so the gradient of the sum holds every row's own gradient.
        return jnp.sum(critic_apply(params, observations, actions))

    return jax.vmap(jax.grad(summed_value, argnums=1), in_axes=(0, None))(critic_params, actions)


def score_matching_penalty(
    critic_apply: Callable[..., jax.Array],
    critic_params: Params,
    observations: jax.Array,
    points: jax.Array,
    scores: jax.Array,
    weights: jax.Array,
    kappa: jax.Array,
    *,
    groups: Mapping[str, slice] | None = None,
) -> tuple[jax.Array, Info]:
    """Penalty E[w || grad_a Q(s, z) - kappa * score(z | s) ||^2] (SMAC, arXiv 2602.17632).

    At the optimum of maximum-entropy control pi(a|s) is proportional to exp(Q(s,a) / alpha), hence
    grad_a Q = alpha * grad_a log pi. The penalty asks this of the critic with the dataset's score on the right.

    Args:
        critic_apply: one critic, see the package docstring.
        critic_params: ensemble of E critics, to differentiate.
        observations: (B, O).
        points: (B, A), the (noised) actions z.
        scores: (B, A), score of the dataset's noised action distribution at the points; held constant.
        weights: (B,), non-negative weight of each point, usually 1 - abar of its noise level.
        kappa: scalar, positive: value units for one unit of log-density. Differentiable: learned freely by this
            loss alone it collapses towards 0 together with the gradient, so watch it in the logs.
        groups: rows of which info tells separately, by name.

    Returns:
        Loss, summed over action dimensions and averaged over batch and ensemble. Info holds
        `score_explained`, the share of the weighted score's energy that the gradient explains
        (1 - residual / score energy), `score_explained_GROUP`, and `score_cosine`, the mean cosine between the two.
    """
    chex.assert_rank([observations, points, weights], [2, 2, 1])
    chex.assert_equal_shape((points, scores))
    chex.assert_shape(weights, (points.shape[0],))
    gradients = action_gradient(critic_apply, critic_params, observations, points)
    targets = kappa * jax.lax.stop_gradient(scores)[None]
    squared = jnp.sum((gradients - targets) ** 2, axis=-1)
    loss = jnp.mean(weights * squared)

    energies = weights * jnp.sum(targets**2, axis=-1)

    def explained(rows: slice) -> jax.Array:
        return 1.0 - jnp.mean((weights * squared)[:, rows]) / (jnp.mean(energies[:, rows]) + 1e-8)

    norms = jnp.linalg.norm(gradients, axis=-1) * jnp.linalg.norm(targets, axis=-1)
    cosine = jnp.sum(gradients * targets, axis=-1) / (norms + 1e-8)
    info = {
        "score_penalty": loss,
        "score_explained": explained(slice(None)),
        **{f"score_explained_{name}": explained(rows) for name, rows in (groups or {}).items()},
        "score_cosine": jnp.mean(cosine),
        "action_gradient_norm": jnp.mean(jnp.linalg.norm(gradients, axis=-1)),
    }
    return loss, info
