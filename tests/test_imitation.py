"""Actors that imitate: what they see, and what is logged of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agents import IQL, OBSERVATIONS, identical, make_agent, make_batch, run, standardizer, update

from smac_jax.agent import algorithms, loss_terms
from smac_jax.agent.terms import Terms
from smac_jax.errors import InputError


def test_an_imitating_actor_logs_the_policy_at_the_states_of_the_penalty_s_share():
    def imitation(batch_fraction: float) -> Terms:
        return Terms(
            score_penalty=loss_terms.ScorePenaltyTerm(batch_fraction=batch_fraction),
            behavior_cloning=loss_terms.BehaviorCloningTerm(),
        )

    batch, key = make_batch(), jax.random.key(5)
    shared_state, shared = update(make_agent(), batch, key, imitation(0.25))
    whole_state, _ = update(make_agent(), batch, key, imitation(1.0))
    _, alone = update(make_agent(), batch.share(0.25), key, imitation(1.0))
    for name in ("entropy", "q_policy"):
        np.testing.assert_allclose(shared[name], alone[name], rtol=1e-6)
    assert identical(shared_state.actor.params, whole_state.actor.params)


def test_noise_on_observations_is_in_spreads_of_the_data():
    rows, scale = 20_000, 0.3
    one = make_batch(rows=1)
    batch = jax.tree.map(lambda leaf: jnp.repeat(leaf, rows, axis=0), one)
    terms = Terms(behavior_cloning=loss_terms.BehaviorCloningTerm(observation_noise=scale))
    agent = make_agent()
    # Steep enough for the noise to show.
    agent = agent.replace(actor=agent.actor.replace(params=jax.tree.map(lambda leaf: 5.0 * leaf, agent.actor.params)))
    noise = np.random.default_rng(1).normal(0.0, scale, (rows, OBSERVATIONS))
    noised = standardizer()(batch.observations) + jnp.asarray(noise, jnp.float32)
    modes = jnp.tanh(agent.actor.apply_fn(agent.actor.params, noised)[0])
    errors = jnp.mean((modes - batch.actions) ** 2, axis=-1)
    clean = jnp.tanh(agent.actor.apply_fn(agent.actor.params, standardizer()(one.observations))[0])
    _, info = update(agent, batch, jax.random.key(2), terms)
    standard_error = float(jnp.std(errors)) / rows**0.5
    assert float(info["bc_loss"]) == pytest.approx(float(jnp.mean(errors)), abs=6 * standard_error)
    assert abs(float(jnp.mean((clean - one.actions) ** 2)) - float(jnp.mean(errors))) > 20 * standard_error


def test_noise_on_observations_is_the_imitation_s_alone():
    noisy = dataclasses.replace(IQL, advantage_weighted=loss_terms.AdvantageWeightedTerm(observation_noise=0.1))
    plain, noised = run(IQL, 2)[0], run(noisy, 2)[0]
    assert not identical(noised.actor.params, plain.actor.params)
    for name in ("critic", "target_critic", "value"):
        assert identical(getattr(noised, name), getattr(plain, name))


def test_state_values_see_noise_at_what_they_are_fitted_to_and_where_advantages_are_weighed():
    rows, scale = 20_000, 0.3
    one = make_batch(rows=1)
    batch = jax.tree.map(lambda leaf: jnp.repeat(leaf, rows, axis=0), one)
    value = loss_terms.ValueTerm(target="td", observation_noise=scale)
    weighted = loss_terms.AdvantageWeightedTerm(observation_noise=scale)
    agent = make_agent()
    agent = agent.replace(value=agent.value.replace(params=jax.tree.map(lambda leaf: 2.0 * leaf, agent.value.params)))

    def values(agent, observations, noise=0.0):
        return np.asarray(agent.value.apply_fn(agent.value.params, standardizer()(observations) + noise))

    def target(agent):
        return float((one.rewards + 0.99 * one.masks * values(agent, one.next_observations))[0])

    noise = np.random.default_rng(1).normal(0.0, scale, (rows, OBSERVATIONS)).astype(np.float32)
    after, info = update(agent, batch, jax.random.key(2), Terms(value=value, advantage_weighted=weighted))
    differences = target(agent) - values(agent, batch.observations, noise)
    losses = np.where(differences < 0, 0.3, 0.7) * differences**2
    assert float(info["value_loss"]) == pytest.approx(np.mean(losses), abs=6 * np.std(losses) / rows**0.5)
    advantages = target(after) - values(after, batch.observations, noise)
    standard_error = float(np.std(advantages)) / rows**0.5
    assert float(info["advantage"]) == pytest.approx(np.mean(advantages), abs=6 * standard_error)
    # The noise shows in both.
    _, plain = update(agent, batch, jax.random.key(2), Terms(value=loss_terms.ValueTerm(target="td")))
    assert abs(float(plain["value_loss"]) - np.mean(losses)) > 20 * np.std(losses) / rows**0.5
    assert abs(target(after) - float(values(after, one.observations)[0]) - np.mean(advantages)) > 20 * standard_error


@pytest.mark.parametrize("terms", [Terms(behavior_cloning=loss_terms.BehaviorCloningTerm(loss_type="log_prob")), IQL])
def test_an_imitation_that_leads_follows_the_later_actions_and_nothing_else_does(terms):
    batch, later, key = make_batch(), make_batch(7).actions, jax.random.key(3)
    plain, _ = update(make_agent(), batch, key, terms)
    ahead, _ = update(make_agent(), batch._replace(later_actions=later), key, dataclasses.replace(terms, lead=2))
    assert not identical(ahead.actor.params, plain.actor.params)
    for name in ("critic", "target_critic", "value"):
        assert identical(getattr(ahead, name), getattr(plain, name))
    # What is there and not asked for changes nothing.
    unasked, _ = update(make_agent(), batch._replace(later_actions=later), key, terms)
    assert identical(unasked.actor.params, plain.actor.params)


def test_an_imitation_of_later_actions_moves_towards_them_alone():
    """Its gradient is the plain one of a batch whose actions are the later ones."""
    batch, later = make_batch(), make_batch(7).actions
    terms = Terms(behavior_cloning=loss_terms.BehaviorCloningTerm())
    led, info = update(
        make_agent(), batch._replace(later_actions=later), jax.random.key(0), dataclasses.replace(terms, lead=1)
    )
    moved, expected = update(make_agent(), batch._replace(actions=later), jax.random.key(0), terms)
    assert identical(led.actor.params, moved.actor.params)
    assert float(info["bc_loss"]) == float(expected["bc_loss"])


def test_a_lead_needs_later_actions():
    terms = Terms(behavior_cloning=loss_terms.BehaviorCloningTerm(), lead=2)
    with pytest.raises(InputError, match=r"terms\.lead above 0 needs batches with `later_actions`; load the data with"):
        update(make_agent(), make_batch(), jax.random.key(0), terms)
    with pytest.raises(InputError, match=r"terms\.lead=-1 must be a number from 0 on"):
        Terms(lead=-1)


def test_an_actor_that_imitates_is_logged_as_one_that_follows_the_critic():
    _, followed = run(algorithms.smac(), 1)
    imitating = {"sac_actor": None, "temperature": None, "behavior_cloning": loss_terms.BehaviorCloningTerm()}
    _, imitated = run(algorithms.smac(**imitating), 1)
    for name in ("entropy", "q_policy"):
        # When they are measured the critic has moved alike in both, the actor in neither.
        assert float(imitated[name]) == pytest.approx(float(followed[name]), rel=1e-5)
