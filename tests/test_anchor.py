"""Values that stand on the density of the actor's imitation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agents import identical, make_agent, make_batch, update

from smac_jax import losses
from smac_jax.agent import algorithms, imitation, loss_terms
from smac_jax.agent.state import critic_apply, critic_apply_by_distance
from smac_jax.agent.step import update_anchor
from smac_jax.agent.terms import Terms
from smac_jax.errors import InputError
from smac_jax.losses.anchor import anchor_scale
from smac_jax.networks import tanh_normal

KAPPA = 5.0
MEAN = jnp.array([[0.2, -0.5], [0.0, 0.9]])
LOG_STD = jnp.log(jnp.array([[0.1, 0.4], [1.0, 0.2]]))
ACTIONS = jnp.array([[0.3, 0.7], [-0.8, 0.9]])


def score(distances, tail=0.3):
    return jax.grad(lambda distances: losses.softened_log_density(distances, tail).sum())(distances)


@pytest.mark.parametrize("tail", [0.3, 3.0])
def test_softened_density_by_hand(tail):
    z = np.array([[0.3, -2.0], [0.0, 5.0]])
    by_hand = -tail / 2 * np.log(1 + z**2 / tail).sum(axis=-1)
    np.testing.assert_allclose(losses.softened_log_density(z, tail), by_hand, rtol=1e-5)
    np.testing.assert_array_equal(losses.softened_log_density(jnp.zeros((2, 3))), 0.0)


def test_its_score_is_a_gaussians_near_the_mode_and_falls_with_the_distance_far_from_it():
    np.testing.assert_allclose(score(jnp.full(2, 1e-2)), -1e-2, rtol=1e-3)
    np.testing.assert_allclose(score(jnp.full(2, 1e3)), -0.3 / 1e3, rtol=1e-4)


def test_scale_is_the_policys_own_before_the_tanh_and_a_tenth_behind_it_where_that_is_wider():
    np.testing.assert_allclose(anchor_scale(MEAN, jnp.full_like(MEAN, np.log(0.5))), 0.5, rtol=1e-5)
    mean = jnp.array([0.0, 1.5, -2.5])
    scale = anchor_scale(mean, jnp.full(3, np.log(1e-3)))
    np.testing.assert_allclose(jnp.abs(jnp.tanh(mean) - jnp.tanh(mean - jnp.sign(mean) * scale))[1:], 0.1, rtol=1e-4)
    np.testing.assert_allclose(jnp.tanh(scale[0]), 0.1, rtol=1e-4)


@pytest.mark.parametrize("mean", [4.0, 7.0, -20.0])
def test_actions_pressed_against_their_bounds_are_held_there(mean):
    # To first order a change of the action by a tenth is 10,000 away at a mean of 7.
    scale = float(anchor_scale(jnp.array([mean]), jnp.array([-3.0]))[0])
    assert np.tanh(abs(mean) - scale) == pytest.approx(np.tanh(abs(mean)) - 0.1, abs=1e-3)


def anchored(**changes):
    return make_agent(critic_anchored=True, kappa=KAPPA, **changes)


def flat(mean, std):
    """Values of an anchored critic whose network is 0, as a function of actions, for the actor's mean and spread."""
    actor = lambda *_: (mean, jnp.full_like(mean, np.log(std)))  # noqa: E731
    values = losses.anchored_critic(lambda *_: jnp.zeros(len(mean)), actor, {}, KAPPA)
    return lambda actions: values({}, mean, actions)


def test_values_by_hand():
    z = (np.arctanh(np.asarray(ACTIONS)) - np.asarray(MEAN)) / 0.5
    expected = -KAPPA * 0.15 * np.log(1 + z**2 / 0.3).sum(axis=-1)
    np.testing.assert_allclose(flat(MEAN, 0.5)(ACTIONS), expected, rtol=1e-4)


def test_samples_of_the_policy_ask_as_little_of_its_mode_as_the_mode_itself():
    values = flat(MEAN, 0.5)
    noise = 0.5 * jax.random.normal(jax.random.key(0), (5_000, 1, 1))
    both = jnp.concatenate([noise, -noise])

    def sampled(mean):
        return jax.vmap(lambda shift: values(jnp.tanh(mean + shift)))(both).mean(axis=0).sum()

    np.testing.assert_allclose(jax.grad(sampled)(MEAN), 0.0, atol=1e-3)
    np.testing.assert_allclose(jax.grad(lambda mean: values(jnp.tanh(mean)).sum())(MEAN), 0.0, atol=1e-3)


@pytest.mark.parametrize("action", [-1.0, 1.0, 0.9999999])
def test_values_and_gradients_are_finite_at_the_bounds(action):
    values = flat(jnp.full((2, 2), 4.0), 0.1)
    actions = jnp.full((2, 2), action)
    value, gradient = jax.value_and_grad(lambda actions: values(actions).sum())(actions)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("tail", [0.3, 3.0])
def test_distances_are_those_of_the_actions(tail):
    state, batch = anchored(anchor_tail=tail), make_batch()
    mean, log_std = state.actor.apply_fn(state.anchor, batch.observations)
    distances = jax.random.normal(jax.random.key(0), mean.shape)
    params = jax.tree.map(lambda leaf: leaf[0], state.critic.params)
    actions = jnp.tanh(mean + anchor_scale(mean, log_std) * distances)
    by_action, by_distance = critic_apply(state), critic_apply_by_distance(state)
    np.testing.assert_allclose(
        by_distance(params, batch.observations, distances),
        by_action(params, batch.observations, actions),
        rtol=1e-4,
        atol=1e-4,
    )


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
    [algorithms.sac(), algorithms.td3(), algorithms.sac(conservative=loss_terms.ConservativeTerm(samples=2))],
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


PENALTY = Terms(score_penalty=loss_terms.ScorePenaltyTerm(weight=10.0), anchor_follows=True)


@pytest.mark.parametrize("tail", [0.3, 3.0])
def test_penalty_is_what_the_network_adds_to_the_score_at_points_of_the_anchor(tail):
    state, batch = anchored(denoiser=False, anchor_tail=tail), make_batch()
    key = jax.random.key(0)
    _, info = update(state, batch, key, PENALTY)
    observations = state.standardizer(batch.observations)
    mean, log_std = state.actor.apply_fn(state.anchor, observations)
    _, penalty_key = jax.random.split(jax.random.fold_in(key, 1))
    distances = jax.random.normal(penalty_key, mean.shape)

    def network(critic_params, distances):
        actions = jnp.tanh(mean + anchor_scale(mean, log_std) * distances)
        return state.critic.apply_fn(critic_params, observations, actions).sum()

    gradients = jax.vmap(jax.grad(network, argnums=1), in_axes=(0, None))(state.critic.params, distances)
    expected = (np.asarray(gradients) ** 2).sum(axis=-1).mean()
    assert float(info["score_penalty"]) == pytest.approx(expected, rel=1e-3)
    energy = (KAPPA**2 * np.asarray(score(distances, tail)) ** 2).sum(axis=-1).mean()
    assert float(info["score_explained"]) == pytest.approx(1 - expected / energy, abs=1e-4)


def test_penalty_flattens_the_network_around_the_anchor():
    state, batch = anchored(denoiser=False), make_batch()
    infos = []
    for index in range(200):
        state, info = update(state, batch, jax.random.key(index), PENALTY)
        infos.append(float(info["score_penalty"]))
    assert infos[-1] < 0.5 * infos[0]


def test_kappa_of_the_anchor_cannot_be_learned_by_its_penalty():
    for changes in ({"kappa": "learned"}, {"policy_fraction": 0.5}):
        with pytest.raises(InputError, match=r"anchor_follows=True takes the anchor's own score"):
            Terms(score_penalty=loss_terms.ScorePenaltyTerm(**changes), anchor_follows=True)


IMITATION = Terms(behavior_cloning=loss_terms.BehaviorCloningTerm(), anchor_follows=True)


def test_anchor_averages_the_actor_offline_and_stays_online():
    state, expected = anchored(), None
    for index in range(12):
        state, _ = update(state, make_batch(index), jax.random.key(index), IMITATION)
        # Its first value is the first updated actor: what was there at random counts for nothing.
        share = 10 / (10 + index)
        moved = state.actor.params if expected is None else expected
        expected = jax.tree.map(lambda old, new: old + share * (new - old), moved, state.actor.params)  # noqa: B023
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.anchor, expected)
    assert not identical(state.anchor, state.actor.params)
    later, _ = update(state, make_batch(1), jax.random.key(1), algorithms.sac())
    assert identical(later.anchor, state.anchor)
    assert not identical(later.actor.params, state.actor.params)


def test_average_is_of_the_last_tenth_however_long_the_run():
    """Of a parameter that counts its updates, a mean with the weights of a power of time: 10/11 of the way."""
    state = anchored()
    for steps in (500, 2000):
        count, average = jnp.zeros(()), jnp.zeros(())
        for index in range(steps):
            count = count + 1
            average = update_anchor(
                state.replace(step=jnp.int32(index), anchor=average, actor=state.actor.replace(params=count))
            ).anchor
        assert float(average) / steps == pytest.approx(10 / 11, abs=0.02)


def test_what_a_pretraining_leaves_is_its_average():
    state = anchored()
    for index in range(3):
        state, _ = update(state, make_batch(index), jax.random.key(index), IMITATION)
    policy = imitation(state)
    assert identical(policy.actor.params, state.anchor)
    assert identical(policy.actor.opt_state, state.actor.opt_state)
    plain = make_agent()
    assert imitation(plain) is plain


def test_an_imitation_is_logged_at_its_average():
    terms = Terms(
        behavior_cloning=loss_terms.BehaviorCloningTerm(),
        score_penalty=loss_terms.ScorePenaltyTerm(),
        anchor_follows=True,
    )
    state = anchored()
    average = jax.tree.map(lambda leaf: leaf + 0.1, state.actor.params)
    state = state.replace(anchor=average)

    def logged(state):
        info = update(state, make_batch(), jax.random.key(0), terms)[1]
        return [float(info[name]) for name in ("entropy", "q_policy")]

    # The critic has moved before they are measured, by values that read the anchor and not the actor.
    elsewhere = state.replace(actor=state.actor.replace(params=jax.tree.map(lambda leaf: leaf + 0.3, average)))
    assert logged(elsewhere) == logged(state)
    assert logged(state.replace(anchor=elsewhere.actor.params)) != logged(state)


def test_distance_of_the_mode_by_hand():
    actor = lambda shift, _: (MEAN + shift, LOG_STD)  # noqa: E731
    moved = jnp.array([[0.05, 0.0], [0.0, 0.0]])
    distance = losses.mode_distance(actor, moved, jnp.zeros(()), MEAN)
    # One of four entries is off by 0.05, where the spread of 0.1 is narrower than the least.
    scale = 0.2 - np.arctanh(np.tanh(0.2) - 0.1)
    assert float(distance) == pytest.approx(0.05 / scale / 2, rel=1e-4)


def test_distance_of_the_mode_is_logged_once_the_anchor_stays():
    state, batch = anchored(), make_batch()
    moved, info = update(state, batch, jax.random.key(0), algorithms.sac())
    assert float(info["mode_distance"]) == 0.0
    _, info = update(moved, batch, jax.random.key(1), algorithms.sac())
    assert float(info["mode_distance"]) > 0.0
    assert "mode_distance" not in update(state, batch, jax.random.key(0), IMITATION)[1]


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
