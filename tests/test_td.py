import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smac_jax import losses

REWARDS = jnp.array([1.0, 2.0, 3.0])
# The second transition terminates; the third is truncated, hence bootstraps like the first.
MASKS = jnp.array([1.0, 0.0, 1.0])
NEXT_VALUES = jnp.array([[10.0, 20.0, 30.0], [12.0, 18.0, 28.0]])
NEXT_LOG_PROBS = jnp.array([-2.0, 4.0, 2.0])

OBSERVATIONS = jnp.array([[1.0], [2.0], [-1.0]])
ACTIONS = jnp.array([[0.5], [-0.5], [1.0]])
LINEAR = jnp.array([[1.0, 2.0], [-1.0, 4.0]])
TARGETS = jnp.array([1.0, 0.0, 2.0])
# Values of the two critics: (2, 1, 1) and (1, -4, 5).
ERRORS = np.array([[1.0, 1.0, -1.0], [0.0, -4.0, 3.0]])


def linear_critic(params, observations, actions):
    return jnp.concatenate([observations, actions], axis=-1) @ params


def test_target_without_entropy_bonus():
    target = losses.td_target(REWARDS, MASKS, NEXT_VALUES, 0.9, temperature=0.5)
    np.testing.assert_allclose(target, [1.0 + 0.9 * 10.0, 2.0, 3.0 + 0.9 * 28.0], rtol=1e-6)


def test_target_with_entropy_bonus():
    target = losses.td_target(REWARDS, MASKS, NEXT_VALUES, 0.9, temperature=0.5, next_log_probs=NEXT_LOG_PROBS)
    np.testing.assert_allclose(target, [1.0 + 0.9 * 11.0, 2.0, 3.0 + 0.9 * 27.0], rtol=1e-6)


def test_target_takes_the_minimum_for_each_transition():
    lowered = NEXT_VALUES.at[1, 0].set(-7.0)
    before = losses.td_target(REWARDS, MASKS, NEXT_VALUES, 0.9)
    after = losses.td_target(REWARDS, MASKS, lowered, 0.9)
    np.testing.assert_allclose(after - before, [0.9 * -17.0, 0.0, 0.0], rtol=1e-5)
    raised = losses.td_target(REWARDS, MASKS, NEXT_VALUES.at[1, 0].set(100.0), 0.9)
    np.testing.assert_array_equal(raised, before)


def test_single_critic_is_its_own_minimum():
    target = losses.td_target(REWARDS, MASKS, NEXT_VALUES[:1], 0.5)
    np.testing.assert_allclose(target, [6.0, 2.0, 18.0], rtol=1e-6)


@pytest.mark.parametrize("argument", range(4))
def test_no_gradient_passes_through_the_target(argument):
    def total(rewards, next_values, temperature, log_probs):
        target = losses.td_target(rewards, MASKS, next_values, 0.9, temperature=temperature, next_log_probs=log_probs)
        return jnp.sum(target**2)

    gradient = jax.grad(total, argnums=argument)(REWARDS, NEXT_VALUES, jnp.asarray(0.5), NEXT_LOG_PROBS)
    np.testing.assert_array_equal(gradient, 0.0)


def test_bootstrapping_from_the_same_critic_gives_the_semi_gradient():
    def bootstrapped(params):
        next_values = losses.ensemble_values(linear_critic, params, OBSERVATIONS + 1.0, -ACTIONS)
        targets = losses.td_target(REWARDS, MASKS, next_values, 0.9)
        return losses.td_error(linear_critic, params, OBSERVATIONS, ACTIONS, targets)[0], targets

    gradient, targets = jax.grad(bootstrapped, has_aux=True)(LINEAR)
    semi = jax.grad(lambda params: losses.td_error(linear_critic, params, OBSERVATIONS, ACTIONS, targets)[0])(LINEAR)
    np.testing.assert_allclose(gradient, semi, rtol=1e-6)
    assert jnp.linalg.norm(semi) > 1.0


def test_error_and_info_of_linear_critics():
    loss, info = losses.td_error(linear_critic, LINEAR, OBSERVATIONS, ACTIONS, TARGETS)
    np.testing.assert_allclose(loss, np.mean(ERRORS**2), rtol=1e-6)
    expected = {"td_loss": 28.0 / 6.0, "q_data": 1.0, "q_data_min": -4.0, "q_data_max": 5.0, "td_target": 1.0}
    assert info.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(info[name], value, rtol=1e-6, err_msg=name)


def test_error_gradient_of_linear_critics():
    gradient = jax.grad(lambda params: losses.td_error(linear_critic, params, OBSERVATIONS, ACTIONS, TARGETS)[0])(
        LINEAR
    )
    inputs = np.concatenate([OBSERVATIONS, ACTIONS], axis=-1)
    np.testing.assert_allclose(gradient, 2.0 / 6.0 * ERRORS @ inputs, rtol=1e-6)


def test_ensemble_values_map_over_members():
    values = losses.ensemble_values(linear_critic, LINEAR, OBSERVATIONS, ACTIONS)
    np.testing.assert_allclose(values, ERRORS + np.asarray(TARGETS), rtol=1e-6)


def test_smoothing_stays_within_its_clip_and_the_action_range():
    actions = jax.random.uniform(jax.random.key(0), (5000, 2), minval=-1.0, maxval=1.0)
    smoothed = losses.smooth_actions(actions, jax.random.key(1), 0.4, 0.3)
    moves = np.asarray(smoothed - actions)
    assert np.abs(smoothed).max() <= 1.0
    assert np.abs(moves).max() <= 0.3 + 1e-6
    inside = np.abs(actions) < 0.7
    # Away from the range's bounds, the clip alone acts: P(|N(0, 0.4)| > 0.3) = 0.453.
    np.testing.assert_allclose(np.mean(np.abs(moves[inside]) > 0.3 - 1e-5), 0.453, atol=0.03)
    assert np.any(np.abs(smoothed) == 1.0)


def test_smoothing_noise_has_the_given_spread():
    smoothed = losses.smooth_actions(jnp.zeros((20000, 1)), jax.random.key(0), 0.1, 0.5)
    np.testing.assert_allclose(np.std(smoothed), 0.1, rtol=0.03)
    np.testing.assert_allclose(np.mean(smoothed), 0.0, atol=0.003)


def test_smoothing_without_noise_is_the_identity():
    actions = jnp.array([[0.3, -1.0], [1.0, 0.0]])
    np.testing.assert_array_equal(losses.smooth_actions(actions, jax.random.key(0), 0.0, 0.5), actions)
