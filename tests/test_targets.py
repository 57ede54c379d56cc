"""What critic and state value are fitted to, computed by hand."""

import dataclasses
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agents import ACTIONS, BATCH, IQL, identical, make_agent, make_batch, update

from smac_jax.agent import loss_terms, step
from smac_jax.agent.terms import Terms
from smac_jax.errors import InputError
from smac_jax.losses import ensemble_values
from smac_jax.networks import tanh_normal
from smac_jax.types import Lookahead


def apart(state, members=2):
    """The agent with target critics that are not its critics, and of which now this, now that one is the smallest."""
    rng = np.random.default_rng(1)

    def noised(leaf):
        return leaf[jnp.arange(members) % 2] + rng.normal(size=(members, *leaf.shape[1:])).astype(np.float32)

    return state.replace(target_critic=jax.tree.map(noised, state.target_critic))


def target_values(state, observations, actions):
    """Values (E, B) of the target critics at raw observations."""
    return np.asarray(
        ensemble_values(state.critic.apply_fn, state.target_critic, state.standardizer(observations), actions)
    )


def mean_target(next_values, discount):
    batch = make_batch()
    return np.mean(np.asarray(batch.rewards) + discount * np.asarray(batch.masks) * np.asarray(next_values))


def test_backup_takes_the_largest_value_of_several_next_actions(monkeypatch):
    offsets = jnp.array([-2.0, 0.3, 1.0])

    def spread(mean, log_std, key):
        assert mean.shape == (BATCH, 3, ACTIONS)
        return jnp.tanh(mean + offsets[None, :, None]), jnp.full(mean.shape[:-1], 1000.0)

    monkeypatch.setattr(tanh_normal, "sample_and_log_prob", spread)
    terms = Terms(discount=0.9, td=loss_terms.TDTerm(samples=3, soft=False))
    state, batch = apart(make_agent()), make_batch()
    _, info = jax.jit(lambda state: step(state, batch, jax.random.key(0), terms))(state)
    mean, _ = state.actor.apply_fn(state.actor.params, state.standardizer(batch.next_observations))
    smallest = [
        target_values(state, batch.next_observations, jnp.tanh(mean + offset)).min(axis=0) for offset in offsets
    ]
    largest = np.max(smallest, axis=0)
    assert len(set(np.argmax(smallest, axis=0))) > 1, "the best action depends on the state"
    assert float(info["td_target"]) == pytest.approx(mean_target(largest, 0.9), rel=1e-5)


@pytest.mark.parametrize("subset", [1, 2])
def test_target_is_the_minimum_of_a_random_subset(subset):
    terms = Terms(discount=0.9, td=loss_terms.TDTerm(next_action="mode", soft=False, subset=subset))
    state, batch = apart(make_agent(critics=3), members=3), make_batch()
    mean, _ = state.actor.apply_fn(state.actor.params, state.standardizer(batch.next_observations))
    values = target_values(state, batch.next_observations, jnp.tanh(mean))
    expected = [
        mean_target(values[list(chosen)].min(axis=0), 0.9) for chosen in itertools.combinations(range(3), subset)
    ]
    found = [float(update(state, batch, jax.random.key(index), terms)[1]["td_target"]) for index in range(20)]
    nearest = np.abs(np.subtract.outer(found, expected))
    np.testing.assert_allclose(nearest.min(axis=1), 0.0, atol=1e-5)
    assert set(nearest.argmin(axis=1)) == {0, 1, 2}


def test_subset_of_all_critics_is_all_critics():
    results = [
        update(make_agent(), make_batch(), jax.random.key(0), Terms(td=loss_terms.TDTerm(subset=subset)))
        for subset in (0, 2)
    ]
    assert identical(*results)


def test_iql_by_hand():
    state, batch, discount = apart(make_agent()), make_batch(), 0.9
    after, info = update(state, batch, jax.random.key(0), dataclasses.replace(IQL, discount=discount))

    def values(agent, observations):
        return np.asarray(agent.value.apply_fn(agent.value.params, state.standardizer(observations)))

    # The value is fitted to the target critics; critic and actor follow the value that is new by then.
    smallest = target_values(state, batch.observations, batch.actions).min(axis=0)
    differences = smallest - values(state, batch.observations)
    assert np.any(differences < 0)
    assert np.any(differences > 0)
    expected = {
        "value_loss": np.mean(np.where(differences < 0, 0.3, 0.7) * differences**2),
        "td_target": mean_target(values(after, batch.next_observations), discount),
        "advantage": np.mean(smallest - values(after, batch.observations)),
    }
    for name, value in expected.items():
        assert float(info[name]) == pytest.approx(value, rel=1e-4), name


def test_a_value_of_several_steps_and_its_advantages_by_hand():
    state, batch, discount = apart(make_agent()), make_batch(), 0.9
    one_step = dataclasses.replace(IQL, value=loss_terms.ValueTerm(target="td"), discount=discount)
    terms = dataclasses.replace(IQL, value=loss_terms.ValueTerm(target="td", steps=3), discount=discount)
    further = make_batch(7)
    ahead = Lookahead(further.rewards, 0.7 * further.masks, further.observations)
    after, info = update(state, batch._replace(lookahead=ahead), jax.random.key(0), terms)

    def values(agent, observations):
        return np.asarray(agent.value.apply_fn(agent.value.params, state.standardizer(observations)))

    def targets(agent):
        return np.asarray(ahead.rewards + ahead.discounts * values(agent, ahead.observations))

    differences = targets(state) - values(state, batch.observations)
    one_step_targets = batch.rewards + discount * batch.masks * values(after, batch.next_observations)
    expected = {
        "value_loss": np.mean(np.where(differences < 0, 0.3, 0.7) * differences**2),
        "advantage": np.mean(targets(after) - values(after, batch.observations)),
        # The critic's own target stays one of one step.
        "td_target": np.mean(np.asarray(one_step_targets)),
    }
    for name, value in expected.items():
        assert float(info[name]) == pytest.approx(value, rel=1e-4), name
    # Looking one step ahead is not looking ahead.
    one = Lookahead(batch.rewards, jnp.float32(discount) * batch.masks, batch.next_observations)
    found = update(state, batch._replace(lookahead=one), jax.random.key(0), terms)[0]
    chex.assert_trees_all_close(found, update(state, batch, jax.random.key(0), one_step)[0], rtol=1e-5)


def test_several_steps_need_a_lookahead_and_values_of_their_own():
    with pytest.raises(InputError, match=r"terms\.value\.steps above 1 needs batches with a `Lookahead`"):
        update(
            make_agent(),
            make_batch(),
            jax.random.key(0),
            dataclasses.replace(IQL, value=loss_terms.ValueTerm(target="td", steps=3)),
        )
    with pytest.raises(InputError, match=r"terms\.value\.steps above 1 needs terms\.value\.target=td"):
        dataclasses.replace(IQL, value=loss_terms.ValueTerm(steps=3))
    with pytest.raises(InputError, match=r"terms\.value\.steps=0 must be a number from 1 on"):
        dataclasses.replace(IQL, value=loss_terms.ValueTerm(target="td", steps=0))


def test_a_value_of_one_step_targets_by_hand_and_without_the_critic():
    state, batch, discount = apart(make_agent()), make_batch(), 0.9
    terms = dataclasses.replace(IQL, value=loss_terms.ValueTerm(target="td"), discount=discount)
    after, info = update(state, batch, jax.random.key(0), terms)

    def values(agent, observations):
        return np.asarray(agent.value.apply_fn(agent.value.params, state.standardizer(observations)))

    def targets(agent):
        rewards, masks = np.asarray(batch.rewards), np.asarray(batch.masks)
        return rewards + discount * masks * values(agent, batch.next_observations)

    differences = targets(state) - values(state, batch.observations)
    expected = {
        "value_loss": np.mean(np.where(differences < 0, 0.3, 0.7) * differences**2),
        "td_target": np.mean(targets(after)),
        "advantage": np.mean(targets(after) - values(after, batch.observations)),
    }
    for name, value in expected.items():
        assert float(info[name]) == pytest.approx(value, rel=1e-4), name
    doubled = state.replace(target_critic=jax.tree.map(lambda leaf: 2.0 * leaf, state.target_critic))
    other, _ = update(doubled, batch, jax.random.key(0), terms)
    assert identical((other.value, other.actor), (after.value, after.actor))
