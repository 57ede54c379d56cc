"""The data's action density, and values that stand on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from test_step import OBSERVATIONS, identical, make_agent, make_batch, moved, update

from smac_jax import losses
from smac_jax.agent import terms as catalogue
from smac_jax.agent.state import critic_apply
from smac_jax.agent.terms import Terms
from smac_jax.errors import InputError
from smac_jax.networks import Behavior

KAPPA = 5.0
MEAN = jnp.array([[0.2, -0.5], [0.0, 0.9]])
LOG_STD = jnp.log(jnp.array([[0.1, 0.4], [1.0, 0.2]]))
X = jnp.array([[0.3, 0.7], [-0.8, 0.9]])


def score(actions, mean=MEAN, log_std=LOG_STD):
    return jax.grad(lambda actions: losses.softened_log_density(mean, log_std, actions).sum())(actions)


def test_softened_density_by_hand():
    z = (X - MEAN) / jnp.exp(LOG_STD)
    np.testing.assert_allclose(
        losses.softened_log_density(MEAN, LOG_STD, X), -1.5 * np.log(1 + z**2 / 3).sum(axis=-1), rtol=1e-5
    )
    np.testing.assert_array_equal(losses.softened_log_density(MEAN, LOG_STD, MEAN), 0.0)


def test_its_score_is_a_gaussians_near_the_mode_and_falls_with_the_distance_far_from_it():
    std = jnp.exp(LOG_STD)
    np.testing.assert_allclose(score(MEAN + 1e-2 * std), -1e-2 / std, rtol=1e-3)
    np.testing.assert_allclose(score(MEAN + 1e3 * std), -3 / (1e3 * std), rtol=1e-4)


def test_likelihood_by_hand_and_its_gradient_by_differences():
    def apply(params, observations):
        return jnp.broadcast_to(params["mean"], X.shape), jnp.broadcast_to(params["log_std"], X.shape)

    params = {"mean": jnp.array([0.1, -0.1]), "log_std": jnp.array([-1.0, 0.3])}

    def loss(params):
        return losses.behavior_likelihood(apply, params, X, X)[0]

    expected = -stats.norm.logpdf(X, params["mean"], np.exp(params["log_std"])).sum(axis=-1).mean()
    assert float(loss(params)) == pytest.approx(expected, rel=1e-5)
    gradient = jax.grad(loss)(params)
    for name in params:
        moved_up = {**params, name: params[name].at[0].add(1e-2)}
        moved_down = {**params, name: params[name].at[0].add(-1e-2)}
        difference = (loss(moved_up) - loss(moved_down)) / 2e-2
        assert float(gradient[name][0]) == pytest.approx(float(difference), rel=1e-2)


def test_mean_stays_among_the_actions_and_spread_within_its_bounds():
    network = Behavior(2, (16,))
    params = network.init(jax.random.key(0), jnp.ones((1, 3)))
    large = jax.tree.map(lambda leaf: 1e4 * leaf, params)
    mean, log_std = network.apply(large, jax.random.normal(jax.random.key(1), (50, 3)))
    assert jnp.all(jnp.abs(mean) <= 1.0)
    np.testing.assert_allclose([log_std.min(), log_std.max()], np.log([0.1, 2.0]), rtol=1e-6)


def anchored(**changes):
    return make_agent(behavior=True, kappa=KAPPA, **changes)


def test_action_gradient_is_the_networks_and_kappa_times_the_score():
    state, batch = anchored(), make_batch()
    gradients = [
        losses.action_gradient(apply, state.critic.params, batch.observations, batch.actions)
        for apply in (critic_apply(state), state.critic.apply_fn)
    ]
    expected = score(batch.actions, *state.behavior.apply_fn(state.behavior.params, batch.observations))
    difference = gradients[0] - gradients[1]
    np.testing.assert_allclose(difference, jnp.broadcast_to(KAPPA * expected, difference.shape), rtol=1e-3, atol=1e-4)


def test_values_move_neither_the_density_nor_kappa():
    state, batch = anchored(), make_batch()

    def value(behavior_params, kappa):
        apply = losses.anchored_critic(state.critic.apply_fn, state.behavior.apply_fn, behavior_params, kappa)
        params = jax.tree.map(lambda leaf: leaf[0], state.critic.params)
        return jnp.sum(apply(params, batch.observations, batch.actions))

    gradients = jax.grad(value, argnums=(0, 1))(state.behavior.params, jnp.float32(KAPPA))
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize(
    "terms",
    [catalogue.sac(), catalogue.td3(), catalogue.sac(conservative=catalogue.ConservativeTerm(samples=2))],
)
def test_every_term_of_the_critic_sees_values_on_the_density(terms):
    state, batch = anchored(), make_batch()
    _, info = update(state, batch, jax.random.key(0), terms)
    observations = state.standardizer(batch.observations)
    values = losses.ensemble_values(critic_apply(state), state.critic.params, observations, batch.actions)
    assert float(info["q_data"]) == pytest.approx(float(values.mean()), rel=1e-4)
    plain, _ = update(make_agent(kappa=KAPPA), batch, jax.random.key(0), terms)
    after, _ = update(state, batch, jax.random.key(0), terms)
    assert not identical(after.actor.params, plain.actor.params)


def test_score_penalty_asks_for_what_the_density_leaves():
    terms = Terms(score_penalty=catalogue.ScorePenaltyTerm())
    state, batch = anchored(), make_batch()
    _, info = update(state, batch, jax.random.key(0), terms)
    _, plain = update(make_agent(kappa=KAPPA), batch, jax.random.key(0), terms)
    assert float(info["action_gradient_norm"]) > float(plain["action_gradient_norm"])


def test_density_moves_by_its_own_term_alone():
    term = Terms(behavior=catalogue.BehaviorTerm())
    assert moved(term, behavior=True) == {"behavior"}
    assert moved(catalogue.sac(), behavior=True) == {"actor", "critic", "target_critic", "temperature"}


def test_fine_tuning_leaves_the_density_where_it_was_though_it_has_momentum():
    state, _ = update(anchored(), make_batch(), jax.random.key(0), Terms(behavior=catalogue.BehaviorTerm()))
    later, _ = update(state, make_batch(1), jax.random.key(1), catalogue.sac())
    assert identical(later.behavior, state.behavior)


def test_fit_needs_the_network():
    with pytest.raises(InputError, match=r"set network\.behavior"):
        update(make_agent(), make_batch(), jax.random.key(0), Terms(behavior=catalogue.BehaviorTerm()))


def test_density_is_fitted_to_the_batch():
    state, batch = make_agent(behavior=True, denoiser_learning_rate=1e-2), make_batch()
    batch = batch._replace(actions=0.3 * jnp.tanh(batch.observations[:, :2]))
    terms = Terms(behavior=catalogue.BehaviorTerm())
    step = jax.jit(lambda state, key: update(state, batch, key, terms))
    before = None
    for index in range(200):
        state, info = step(state, jax.random.key(index))
        before = before or float(info["behavior_loss"])
    mean, _ = state.behavior.apply_fn(state.behavior.params, state.standardizer(batch.observations))
    assert batch.observations.shape[-1] == OBSERVATIONS
    assert float(jnp.abs(mean - batch.actions).max()) < 0.1
    assert float(info["behavior_loss"]) < before
