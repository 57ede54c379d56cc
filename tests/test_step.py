import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smac_jax.agent import AgentSpec, Standardizer, create_agent, create_agents, step
from smac_jax.agent import terms as catalogue
from smac_jax.agent.terms import DenoisingTerm, Terms, terms_from_mapping
from smac_jax.errors import InputError
from smac_jax.types import Batch

OBSERVATIONS, ACTIONS, BATCH = 3, 2, 16
NETWORKS = ("actor", "critic", "target_critic", "temperature", "denoiser", "kappa")


def make_batch(seed: int = 0, rows: int = BATCH) -> Batch:
    rng = np.random.default_rng(seed)
    return Batch(
        observations=jnp.asarray(rng.normal(size=(rows, OBSERVATIONS)), jnp.float32),
        actions=jnp.asarray(rng.uniform(-1, 1, (rows, ACTIONS)), jnp.float32),
        rewards=jnp.asarray(rng.normal(size=rows), jnp.float32),
        masks=jnp.asarray(rng.random(rows) > 0.2, jnp.float32),
        next_observations=jnp.asarray(rng.normal(size=(rows, OBSERVATIONS)), jnp.float32),
        mc_returns=jnp.zeros(rows, jnp.float32),
    )


def standardizer() -> Standardizer:
    return Standardizer(jnp.full(OBSERVATIONS, 0.5, jnp.float32), jnp.full(OBSERVATIONS, 2.0, jnp.float32))


@functools.cache
def make_agent(**changes):
    spec = AgentSpec(OBSERVATIONS, ACTIONS, hidden_dims=(16, 16), **changes)
    return jax.jit(lambda key: create_agent(spec, key, standardizer()))(jax.random.key(1))


update = jax.jit(step, static_argnums=3)


def identical(left, right) -> bool:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


def moved(terms: Terms, steps: int = 2, **changes) -> set[str]:
    state = start = make_agent(**changes)
    for index in range(steps):
        state, _ = update(state, make_batch(index), jax.random.key(index), terms)
    return {name for name in NETWORKS if not identical(getattr(state, name), getattr(start, name))}


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (Terms(), set()),
        (Terms(denoising=DenoisingTerm()), {"denoiser"}),
        (catalogue.sac(), {"actor", "critic", "target_critic", "temperature"}),
        (catalogue.sac(temperature=None), {"actor", "critic", "target_critic"}),
        (catalogue.td3(), {"actor", "critic", "target_critic"}),
        (catalogue.td3bc(), {"actor", "critic", "target_critic"}),
        (Terms(behavior_cloning=catalogue.BehaviorCloningTerm()), {"actor"}),
        (catalogue.smac(), {"actor", "critic", "target_critic", "temperature", "denoiser"}),
        (
            catalogue.smac(score_penalty=catalogue.ScorePenaltyTerm(kappa="learned"), denoising=None),
            {"actor", "critic", "target_critic", "temperature", "kappa"},
        ),
    ],
)
def test_only_the_networks_that_the_terms_name_move(terms, expected):
    assert moved(terms) == expected


def test_only_the_networks_that_the_terms_name_move_with_muon():
    assert moved(catalogue.td3(), optimizer="muon") == {"actor", "critic", "target_critic"}


def test_switching_a_term_off_leaves_its_network_alone_even_after_it_has_momentum():
    state, _ = update(make_agent(), make_batch(), jax.random.key(0), catalogue.smac())
    later, _ = update(state, make_batch(1), jax.random.key(1), catalogue.td3())
    assert identical(later.denoiser, state.denoiser)
    assert identical(later.temperature, state.temperature)
    assert identical(later.kappa, state.kappa)
    assert not identical(later.critic.params, state.critic.params)


def test_smac_without_its_own_terms_is_sac_and_the_denoiser_disturbs_nobody():
    off = catalogue.smac(
        score_penalty=catalogue.ScorePenaltyTerm(weight=0.0), denoising=catalogue.DenoisingTerm(weight=0.0)
    )
    assert off == catalogue.sac()
    with_denoiser, _ = update(
        make_agent(), make_batch(), jax.random.key(3), dataclasses.replace(off, denoising=DenoisingTerm())
    )
    plain, _ = update(make_agent(), make_batch(), jax.random.key(3), catalogue.sac())
    for name in ("actor", "critic", "target_critic", "temperature"):
        np.testing.assert_allclose(
            np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(getattr(with_denoiser, name))]),
            np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(getattr(plain, name))]),
            rtol=1e-5,
            atol=1e-7,
        )


def test_delayed_policy_moves_on_every_second_step_only():
    first, info = update(make_agent(), make_batch(0), jax.random.key(0), catalogue.td3())
    assert np.isfinite(info["actor_loss"])
    second, info = update(first, make_batch(1), jax.random.key(1), catalogue.td3())
    assert np.isnan(info["actor_loss"])
    assert np.isfinite(info["td_loss"])
    assert identical(second.actor, first.actor)
    assert identical(second.target_critic, first.target_critic)
    assert not identical(second.critic.params, first.critic.params)


def test_target_critic_is_the_moving_average_of_the_critic():
    before = make_agent()
    after, _ = update(before, make_batch(), jax.random.key(0), catalogue.sac(tau=0.25))
    expected = jax.tree.map(lambda new, old: 0.25 * new + 0.75 * old, after.critic.params, before.target_critic)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after.target_critic, expected)


def test_step_standardises_observations():
    batch, scale = make_batch(), standardizer()
    neutral = Standardizer(jnp.zeros(OBSERVATIONS), jnp.ones(OBSERVATIONS))
    by_hand = batch._replace(observations=scale(batch.observations), next_observations=scale(batch.next_observations))
    inside, _ = update(make_agent(), batch, jax.random.key(0), catalogue.smac())
    outside, _ = update(make_agent().replace(standardizer=neutral), by_hand, jax.random.key(0), catalogue.smac())
    assert identical(inside.critic, outside.critic)
    assert identical(inside.actor, outside.actor)


def test_tied_kappa_is_the_temperature():
    terms = catalogue.smac(score_penalty=catalogue.ScorePenaltyTerm(kappa="temperature"))
    _, info = update(make_agent(temperature=0.37, kappa=2.0), make_batch(), jax.random.key(0), terms)
    assert float(info["kappa"]) == pytest.approx(0.37, rel=1e-5)


def test_penalty_points_at_policy_actions_change_the_penalty_only_where_asked():
    def penalty(fraction: float) -> float:
        terms = catalogue.smac(score_penalty=catalogue.ScorePenaltyTerm(policy_fraction=fraction))
        return float(update(make_agent(), make_batch(), jax.random.key(0), terms)[1]["score_penalty"])

    assert penalty(0.0) == penalty(0.01)
    assert penalty(0.0) != penalty(0.5)


def test_every_leaf_keeps_type_shape_and_strength():
    # A weak type in the first state would make XLA compile every scan a second time.
    state = make_agent()
    after, _ = jax.eval_shape(lambda s: step(s, make_batch(), jax.random.key(0), catalogue.smac()), state)
    for before_leaf, after_leaf in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert not before_leaf.weak_type
        assert (before_leaf.shape, before_leaf.dtype, False) == (
            after_leaf.shape,
            after_leaf.dtype,
            after_leaf.weak_type,
        )


def test_agent_of_seed_i_is_the_agent_of_its_key_alone():
    spec = AgentSpec(OBSERVATIONS, ACTIONS, hidden_dims=(16, 16))
    keys = jax.random.split(jax.random.key(5), 3)
    together = create_agents(spec, keys, standardizer())
    alone = create_agent(spec, keys[1], standardizer())
    for name in ("actor", "critic", "denoiser"):
        mine = jax.tree.map(lambda leaf: leaf[1], getattr(together, name).params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), mine, getattr(alone, name).params)


def test_terms_are_hashable_values_read_from_mappings():
    mapping = {"discount": 0.9, "td": {"weight": 2.0, "soft": False}, "score_penalty": {"weight": 0.0}}
    terms = terms_from_mapping(mapping)
    assert terms == Terms(discount=0.9, td=catalogue.TDTerm(weight=2.0, soft=False))
    assert hash(terms) == hash(terms_from_mapping(mapping))


@pytest.mark.parametrize(
    ("mapping", "cause"),
    [
        ({"penalty": {}}, "terms.penalty is unknown"),
        ({"td": {"wieght": 1.0}}, "terms.td.wieght is unknown"),
        ({"td": {"next_action": "best"}}, "terms.td.next_action='best'"),
        ({"temperature": {"weight": 1.0}}, "needs terms.sac_actor"),
    ],
)
def test_wrong_terms_name_the_field(mapping, cause):
    with pytest.raises(InputError, match=cause):
        terms_from_mapping(mapping)
