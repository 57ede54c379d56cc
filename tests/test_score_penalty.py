import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smac_jax import losses
from smac_jax.networks import Critic, init_ensemble


def x64():
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64

    return enable_x64()


def quadratic_critic(params, observations, actions):
    offset = actions - observations @ params["target"]
    return -0.5 * jnp.einsum("bi,ij,bj->b", offset, params["curvature"], offset) + params["bias"]


def linear_critic(params, observations, actions):
    return actions @ params


# Two linear critics with gradients (1, 0) and (0, 2), worked through by hand below.
GRADIENTS = jnp.array([[1.0, 0.0], [0.0, 2.0]])
SCORES = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
WEIGHTS = jnp.array([1.0, 0.5, 0.25])
POINTS = jnp.array([[0.3, -0.2], [0.1, 0.9], [-0.5, 0.4]])
OBSERVATIONS = jnp.zeros((3, 1))


def linear_penalty(gradients=GRADIENTS, scores=SCORES, weights=WEIGHTS, kappa=2.0, **options):
    return losses.score_matching_penalty(
        linear_critic, gradients, OBSERVATIONS, POINTS, scores, weights, jnp.asarray(kappa), **options
    )


def test_action_gradient_equals_the_gradient_of_a_quadratic():
    rng = np.random.default_rng(0)
    params = {
        "target": jnp.asarray(rng.normal(size=(3, 4, 2)), jnp.float32),
        "curvature": jnp.asarray(rng.normal(size=(3, 2, 2)), jnp.float32),
        "bias": jnp.array([1.0, -5.0, 0.0]),
    }
    observations, actions = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    result = losses.action_gradient(
        quadratic_critic, params, jnp.asarray(observations, jnp.float32), jnp.asarray(actions, jnp.float32)
    )
    assert result.shape == (3, 5, 2)
    for member in range(3):
        curvature = np.asarray(params["curvature"][member])
        offset = actions - observations @ np.asarray(params["target"][member])
        expected = -0.5 * offset @ (curvature + curvature.T)
        np.testing.assert_allclose(result[member], expected, rtol=1e-4, atol=1e-5)


def test_penalty_on_three_points():
    loss, info = linear_penalty()
    # Squared residuals 1, 5, 5 of the first critic and 8, 0, 4 of the second.
    expected = ((1.0 + 0.5 * 5.0 + 0.25 * 5.0) + (8.0 + 0.0 + 0.25 * 4.0)) / 6.0
    energy = (1.0 * 4.0 + 0.5 * 4.0 + 0.25 * 8.0) / 3.0
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(info["score_penalty"], expected, rtol=1e-6)
    np.testing.assert_allclose(info["score_explained"], 1.0 - expected / energy, rtol=1e-5)
    np.testing.assert_allclose(info["score_cosine"], (2.0 + 2.0**0.5) / 6.0, rtol=1e-5)
    np.testing.assert_allclose(info["action_gradient_norm"], 1.5, rtol=1e-6)


def test_groups_of_points_are_explained_separately():
    scores = jnp.array([[0.5, 0.0], [0.5, 0.0], [-0.5, 0.0]])
    gradients = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    groups = {"policy": slice(0, 1), "data": slice(1, None)}
    _, info = linear_penalty(gradients, scores, jnp.ones(3), groups=groups)
    np.testing.assert_allclose(info["score_explained_policy"], 1.0, atol=1e-5)
    # One point is explained, the other (residual 4, energy 1) is opposite.
    np.testing.assert_allclose(info["score_explained_data"], 1.0 - 4.0 / 2.0, atol=1e-5)


def test_penalty_scales_with_the_weights():
    np.testing.assert_allclose(linear_penalty(weights=3.0 * WEIGHTS)[0], 3.0 * linear_penalty()[0], rtol=1e-6)
    weighted = linear_penalty(weights=jnp.array([0.0, 1.0, 0.0]))[0]
    np.testing.assert_allclose(weighted, 5.0 / 6.0, rtol=1e-6)


@pytest.mark.parametrize("kappa", [0.5, 3.0])
def test_gradient_equal_to_kappa_times_score_is_fully_explained(kappa):
    scores = jnp.broadcast_to(jnp.array([0.7, -1.1]), (3, 2))
    gradients = kappa * jnp.broadcast_to(scores[0], (2, 2))
    loss, info = linear_penalty(gradients, scores, kappa=kappa)
    np.testing.assert_allclose(loss, 0.0, atol=1e-10)
    np.testing.assert_allclose(info["score_explained"], 1.0, atol=1e-5)
    np.testing.assert_allclose(info["score_cosine"], 1.0, atol=1e-5)


def test_flat_and_opposite_critics_explain_nothing():
    scores = jnp.broadcast_to(jnp.array([0.7, -1.1]), (3, 2))
    _, flat = linear_penalty(jnp.zeros((2, 2)), scores)
    np.testing.assert_allclose(flat["score_explained"], 0.0, atol=1e-5)
    _, opposite = linear_penalty(-2.0 * scores[:2], scores)
    np.testing.assert_allclose(opposite["score_explained"], -3.0, atol=1e-4)
    np.testing.assert_allclose(opposite["score_cosine"], -1.0, atol=1e-5)


def test_scores_are_constants():
    gradient = jax.grad(lambda scores: linear_penalty(scores=scores)[0])(SCORES)
    np.testing.assert_array_equal(gradient, 0.0)


def test_kappa_gradient_in_closed_form():
    gradient = jax.grad(lambda kappa: linear_penalty(kappa=kappa)[0])(2.0)
    residual = np.asarray(GRADIENTS)[:, None] - 2.0 * np.asarray(SCORES)[None]
    expected = np.mean(np.asarray(WEIGHTS) * -2.0 * np.sum(residual * np.asarray(SCORES), axis=-1))
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


@pytest.mark.parametrize("activation", ["tanh", "silu"])
def test_penalty_gradient_equals_finite_differences(activation):
    step = 1e-5
    with x64():
        rng = np.random.default_rng(1)
        observations, points, scores = (jnp.asarray(rng.normal(size=(6, width))) for width in (3, 2, 2))
        weights = jnp.asarray(rng.uniform(size=6))
        critic = Critic((8, 8), activation, layer_norm=True)
        shapes = jax.eval_shape(lambda: init_ensemble(critic, jax.random.key(0), 2, observations, points))
        params = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape)), shapes)

        @jax.jit
        def loss(params, kappa):
            return losses.score_matching_penalty(critic.apply, params, observations, points, scores, weights, kappa)[0]

        kappa = jnp.asarray(0.7)
        gradient, kappa_gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, kappa)
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(gradient))
        # Guards against a comparison of zeros: the penalty reaches every hidden kernel.
        for layer in ("hidden_0", "hidden_1"):
            assert jnp.linalg.norm(gradient["params"]["mlp"][layer]["kernel"]) > 1e-3
        for _ in range(5):
            direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), params)
            above, below = (
                loss(jax.tree.map(lambda leaf, move, h=h: leaf + h * move, params, direction), kappa)
                for h in (step, -step)
            )
            products = jax.tree.map(lambda a, b: jnp.sum(a * b), gradient, direction)
            along = sum(jax.tree.leaves(products))
            np.testing.assert_allclose(along, (above - below) / (2 * step), rtol=1e-6, atol=1e-7)
        difference = (loss(params, kappa + step) - loss(params, kappa - step)) / (2 * step)
        np.testing.assert_allclose(kappa_gradient, difference, rtol=1e-6)
    assert jnp.zeros(1).dtype == jnp.float32
