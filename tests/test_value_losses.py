import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_actor_losses import ACTOR, OBSERVATIONS, actor, closed_form_log_prob

from smac_jax import losses

STATES = jnp.array([[1.0], [2.0], [-1.0]])
# With V(s) = s the differences to these are 1, -2 and -2.
ACTION_VALUES = jnp.array([2.0, 0.0, -3.0])

ACTIONS = jnp.array([[0.3, -0.9], [0.0, 0.5], [-0.2, 0.2]])
# At inverse temperature 2 and a bound of 50 they weigh 1, exp(2) and 50.
ADVANTAGES = jnp.array([0.0, 1.0, 10.0])
ADVANTAGE_WEIGHTS = np.array([1.0, np.exp(2.0), 50.0])


def linear_value(params, observations):
    return observations @ params


def constant_value(params, observations):
    return jnp.broadcast_to(params, observations.shape[:1])


def value_loss(params, action_values=ACTION_VALUES, level=0.9, apply=linear_value):
    return losses.expectile_value(apply, params, STATES, action_values, level=level)


def weighted_loss(params, advantages=ADVANTAGES, inverse_temperature=2.0, max_weight=50.0):
    return losses.advantage_weighted_actor(
        actor,
        params,
        OBSERVATIONS,
        ACTIONS,
        advantages,
        inverse_temperature=inverse_temperature,
        max_weight=max_weight,
    )


def test_expectile_weighs_the_signs_apart():
    np.testing.assert_allclose(losses.expectile(jnp.array([2.0, -1.0, 0.0]), 0.7), [2.8, 0.3, 0.0], rtol=1e-6)
    differences = jnp.array([2.0, -3.0])
    np.testing.assert_allclose(losses.expectile(differences, 0.5), 0.5 * differences**2)


def test_expectile_value_and_its_gradient_by_hand():
    (loss, info), gradient = jax.value_and_grad(value_loss, has_aux=True)(jnp.array([1.0]))
    np.testing.assert_allclose(loss, (0.9 * 1.0 + 0.1 * 4.0 + 0.1 * 4.0) / 3.0, rtol=1e-6)
    np.testing.assert_allclose(gradient, [-2.0 / 3.0 * (0.9 * 1.0 + 0.1 * -2.0 * 2.0 + 0.1 * -2.0 * -1.0)], rtol=1e-5)
    assert info.keys() == {"value_loss", "value"}
    np.testing.assert_allclose([info["value_loss"], info["value"]], [loss, 2.0 / 3.0], rtol=1e-6)


def test_expectile_one_half_is_mean_regression():
    def mean_regression(params):
        return 0.5 * jnp.mean((ACTION_VALUES - linear_value(params, STATES)) ** 2)

    for params in (jnp.array([1.0]), jnp.array([-0.4])):
        loss, gradient = jax.value_and_grad(lambda params: value_loss(params, level=0.5)[0])(params)
        expected, expected_gradient = jax.value_and_grad(mean_regression)(params)
        np.testing.assert_allclose(loss, expected, rtol=1e-6)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)


@pytest.mark.parametrize("level", [0.5, 0.7, 0.9])
def test_best_constant_is_the_expectile(level):
    # Of the values 0, 0 and 1: level (1 - v) = 2 (1 - level) v. At one half it is the mean, 1/3.
    action_values = jnp.array([0.0, 0.0, 1.0])
    gradient = jax.grad(lambda value: value_loss(value, action_values, level, constant_value)[0])
    np.testing.assert_allclose(gradient(level / (2.0 - level)), 0.0, atol=1e-6)
    assert gradient(level / (2.0 - level) - 0.1) < -0.01


def test_action_values_are_constants():
    gradient = jax.grad(lambda values: value_loss(jnp.array([1.0]), values)[0])(ACTION_VALUES)
    np.testing.assert_array_equal(gradient, 0.0)


def test_advantage_weighted_actor_by_hand():
    loss, info = weighted_loss(ACTOR)
    log_probs = closed_form_log_prob(*actor(ACTOR, OBSERVATIONS), ACTIONS)
    np.testing.assert_allclose(loss, -np.mean(ADVANTAGE_WEIGHTS * log_probs), rtol=1e-4)
    assert info.keys() == {"awr_loss", "advantage", "advantage_weight"}
    found = [info[name] for name in ("awr_loss", "advantage", "advantage_weight")]
    np.testing.assert_allclose(found, [loss, 11.0 / 3.0, ADVANTAGE_WEIGHTS.mean()], rtol=1e-5)


def test_advantage_weighted_gradient_in_closed_form():
    gradient = jax.grad(lambda params: weighted_loss(params)[0])(ACTOR)
    mean, log_std = (np.asarray(part, np.float64) for part in actor(ACTOR, OBSERVATIONS))
    std = np.exp(log_std)
    normalized = (np.arctanh(np.asarray(ACTIONS, np.float64)) - mean) / std
    weights = ADVANTAGE_WEIGHTS[:, None]
    expected = -np.asarray(OBSERVATIONS).T @ (weights * normalized / std) / 3.0
    np.testing.assert_allclose(gradient["weight"], expected, rtol=1e-4)
    np.testing.assert_allclose(gradient["log_std"], -np.mean(weights * (normalized**2 - 1.0), axis=0), rtol=1e-4)


def test_without_inverse_temperature_it_is_behaviour_cloning():
    cloning, _ = losses.behavior_cloning(actor, ACTOR, OBSERVATIONS, ACTIONS, loss_type="log_prob")
    np.testing.assert_allclose(weighted_loss(ACTOR, inverse_temperature=0.0)[0], cloning, rtol=1e-6)


def test_weights_are_bounded_even_where_the_exponential_overflows():
    loss, info = weighted_loss(ACTOR, jnp.full(3, 1000.0))
    assert float(info["advantage_weight"]) == 50.0
    assert np.isfinite(loss)


def test_advantages_are_constants():
    gradient = jax.grad(lambda advantages: weighted_loss(ACTOR, advantages)[0])(ADVANTAGES)
    np.testing.assert_array_equal(gradient, 0.0)
