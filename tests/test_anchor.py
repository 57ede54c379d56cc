"""Values that stand on the density of the actor's imitation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_step import identical, make_agent, make_batch, update

from smac_jax import losses
from smac_jax.agent import terms as catalogue
from smac_jax.agent.state import critic_apply
from smac_jax.agent.terms import Terms
from smac_jax.errors import InputError
from smac_jax.networks import tanh_normal

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


def test_linearized_is_the_mode_and_the_spread_of_a_narrow_policy():
    mean, log_std = jnp.array([0.3, -1.5, 4.0]), jnp.log(jnp.array([1e-3, 2e-3, 1e-3]))
    mode, log_spread = tanh_normal.linearized(mean, log_std)
    x = mean + jnp.exp(log_std) * jax.random.normal(jax.random.key(0), (20_000, 3))
    np.testing.assert_allclose(mode, jnp.tanh(mean), rtol=1e-6)
    np.testing.assert_allclose(jnp.exp(log_spread), jnp.tanh(x).std(axis=0), rtol=3e-2)


def anchored(**changes):
    return make_agent(critic_anchored=True, kappa=KAPPA, **changes)


def test_action_gradient_is_the_networks_and_kappa_times_the_score():
    state, batch = anchored(), make_batch()
    gradients = [
        losses.action_gradient(apply, state.critic.params, batch.observations, batch.actions)
        for apply in (critic_apply(state), state.critic.apply_fn)
    ]
    mode, log_spread = tanh_normal.linearized(*state.actor.apply_fn(state.anchor, batch.observations))
    expected = KAPPA * score(batch.actions, mode, jnp.maximum(log_spread, np.log(0.1)))
    np.testing.assert_allclose(gradients[0] - gradients[1], jnp.stack([expected] * 2), rtol=1e-3, atol=1e-4)


def test_spread_is_at_least_a_tenth_of_the_action_space():
    def gradient(std):
        actor = lambda *_: (jnp.arctanh(MEAN), jnp.full_like(MEAN, np.log(std)))  # noqa: E731
        values = losses.anchored_critic(lambda *_: jnp.zeros(len(X)), actor, {}, KAPPA)
        return jax.grad(lambda actions: values({}, X, actions).sum())(X)

    narrow = KAPPA * score(X, MEAN, jnp.full_like(MEAN, np.log(0.1)))
    np.testing.assert_allclose(gradient(1e-3), narrow, rtol=1e-4, atol=1e-2)
    assert not np.allclose(gradient(1.0), narrow, rtol=0.1)


def test_values_move_neither_the_anchor_nor_kappa():
    state, batch = anchored(), make_batch()

    def value(anchor, kappa):
        apply = losses.anchored_critic(state.critic.apply_fn, state.actor.apply_fn, anchor, kappa)
        params = jax.tree.map(lambda leaf: leaf[0], state.critic.params)
        return jnp.sum(apply(params, batch.observations, batch.actions))

    gradients = jax.grad(value, argnums=(0, 1))(state.anchor, jnp.float32(KAPPA))
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


def test_anchor_follows_the_actor_offline_and_stays_online():
    imitation = Terms(behavior_cloning=catalogue.BehaviorCloningTerm(), anchor_follows=True)
    state, _ = update(anchored(), make_batch(), jax.random.key(0), imitation)
    assert identical(state.anchor, state.actor.params)
    later, _ = update(state, make_batch(1), jax.random.key(1), catalogue.sac())
    assert identical(later.anchor, state.anchor)
    assert not identical(later.actor.params, state.actor.params)


def test_at_the_switch_the_density_asks_nothing_of_the_mode():
    state, batch = anchored(), make_batch()
    mode = tanh_normal.mode(state.actor.apply_fn(state.actor.params, batch.observations)[0])
    gradients = [
        losses.action_gradient(apply, state.critic.params, batch.observations, mode)
        for apply in (critic_apply(state), state.critic.apply_fn)
    ]
    np.testing.assert_allclose(*gradients, atol=1e-4)


def test_a_following_anchor_needs_a_critic_on_one():
    with pytest.raises(InputError, match=r"set network\.critic_anchored"):
        update(make_agent(), make_batch(), jax.random.key(0), Terms(anchor_follows=True))
