import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agents import (
    ACTIONS,
    BATCH,
    BC,
    CALQL,
    CQL,
    IQL,
    OBSERVATIONS,
    identical,
    make_agent,
    make_batch,
    run,
    standardizer,
    update,
)

from smac_jax import losses
from smac_jax.agent import (
    AgentSpec,
    Standardizer,
    algorithms,
    create_agent,
    create_agents,
    critic_update,
    loss_terms,
    mix_actors,
    step,
    step_seeds,
    updates,
)
from smac_jax.agent.loss_terms import DenoisingTerm
from smac_jax.agent.terms import Terms, terms_from_mapping
from smac_jax.errors import InputError

NETWORKS = (
    "actor", "target_actor", "critic", "target_critic", "temperature", "denoiser", "anchor", "value", "kappa",
    "multiplier",
)  # fmt: skip


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
        (algorithms.sac(), {"actor", "critic", "target_critic", "temperature"}),
        (algorithms.sac(temperature=None), {"actor", "critic", "target_critic"}),
        (algorithms.td3(), {"actor", "target_actor", "critic", "target_critic"}),
        (algorithms.td3bc(), {"actor", "target_actor", "critic", "target_critic"}),
        (BC, {"actor"}),
        (IQL, {"actor", "critic", "target_critic", "value"}),
        (CQL, {"actor", "critic", "target_critic", "temperature"}),
        (CALQL, {"actor", "critic", "target_critic", "temperature", "multiplier"}),
        (algorithms.smac(), {"actor", "critic", "target_critic", "temperature", "denoiser"}),
        (
            algorithms.smac(score_penalty=loss_terms.ScorePenaltyTerm(kappa="learned"), denoising=None),
            {"actor", "critic", "target_critic", "temperature", "kappa"},
        ),
    ],
)
def test_only_the_networks_that_the_terms_name_move(terms, expected):
    assert moved(terms) == expected


def test_only_the_networks_that_the_terms_name_move_with_muon():
    assert moved(algorithms.td3(), optimizer="muon") == {"actor", "target_actor", "critic", "target_critic"}


def test_switching_a_term_off_leaves_its_network_alone_even_after_it_has_momentum():
    state, _ = update(make_agent(), make_batch(), jax.random.key(0), algorithms.smac())
    later, _ = update(state, make_batch(1), jax.random.key(1), algorithms.td3())
    assert identical(later.denoiser, state.denoiser)
    assert identical(later.temperature, state.temperature)
    assert identical(later.kappa, state.kappa)
    assert not identical(later.critic.params, state.critic.params)


def test_smac_without_its_own_terms_is_sac_and_the_denoiser_disturbs_nobody():
    off = algorithms.smac(
        score_penalty=loss_terms.ScorePenaltyTerm(weight=0.0), denoising=loss_terms.DenoisingTerm(weight=0.0)
    )
    assert off == algorithms.sac()
    with_denoiser, _ = update(
        make_agent(), make_batch(), jax.random.key(3), dataclasses.replace(off, denoising=DenoisingTerm())
    )
    plain, _ = update(make_agent(), make_batch(), jax.random.key(3), algorithms.sac())
    for name in ("actor", "critic", "target_critic", "temperature"):
        np.testing.assert_allclose(
            np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(getattr(with_denoiser, name))]),
            np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(getattr(plain, name))]),
            rtol=1e-5,
            atol=1e-7,
        )


def test_delayed_policy_moves_on_every_second_step_only():
    first, info = update(make_agent(), make_batch(0), jax.random.key(0), algorithms.td3())
    assert np.isfinite(info["actor_loss"])
    second, info = update(first, make_batch(1), jax.random.key(1), algorithms.td3())
    assert np.isnan(info["actor_loss"])
    assert np.isfinite(info["td_loss"])
    assert identical(second.actor, first.actor)
    assert identical(second.target_critic, first.target_critic)
    assert not identical(second.critic.params, first.critic.params)


@pytest.mark.parametrize(
    ("terms", "actor_moves", "target_moves"),
    [
        (dataclasses.replace(BC, td=loss_terms.TDTerm(), policy_delay=4), {0, 4}, {0, 1, 2, 3, 4}),
        (algorithms.td3(), {0, 2, 4}, {0, 2, 4}),
    ],
    ids=["actor alone", "both"],
)
def test_delays_of_actor_and_target_are_their_own(terms, actor_moves, target_moves):
    state, moves = make_agent(), {"actor": set(), "target_critic": set(), "critic": set()}
    for index in range(5):
        after, _ = update(state, make_batch(index), jax.random.key(index), terms)
        for name, steps in moves.items():
            if not identical(getattr(after, name), getattr(state, name)):
                steps.add(index)
        state = after
    assert moves == {"actor": actor_moves, "target_critic": target_moves, "critic": set(range(5))}


def test_td3_bootstraps_from_the_target_actor():
    state, batch = make_agent(), make_batch()

    def target(state):
        return float(update(state, batch, jax.random.key(0), algorithms.td3())[1]["td_target"])

    shifted = jax.tree.map(lambda leaf: leaf + 0.5, state.actor.params)
    assert target(state.replace(actor=state.actor.replace(params=shifted))) == target(state)
    assert target(state.replace(target_actor=shifted)) != target(state)


def test_target_actor_is_the_moving_average_of_the_actor():
    before = make_agent()
    after, _ = update(before, make_batch(), jax.random.key(0), algorithms.td3(tau=0.25))
    jax.tree.map(
        lambda new, old, actor: np.testing.assert_allclose(new, 0.75 * old + 0.25 * actor, rtol=1e-5, atol=1e-7),
        after.target_actor,
        before.target_actor,
        after.actor.params,
    )


def test_target_critic_is_the_moving_average_of_the_critic():
    before = make_agent()
    after, _ = update(before, make_batch(), jax.random.key(0), algorithms.sac(tau=0.25))
    expected = jax.tree.map(lambda new, old: 0.25 * new + 0.75 * old, after.critic.params, before.target_critic)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after.target_critic, expected)


def test_step_standardises_observations():
    batch, scale = make_batch(), standardizer()
    neutral = Standardizer(jnp.zeros(OBSERVATIONS), jnp.ones(OBSERVATIONS))
    by_hand = batch._replace(observations=scale(batch.observations), next_observations=scale(batch.next_observations))
    inside, _ = update(make_agent(), batch, jax.random.key(0), algorithms.smac())
    outside, _ = update(make_agent().replace(standardizer=neutral), by_hand, jax.random.key(0), algorithms.smac())
    assert identical(inside.critic, outside.critic)
    assert identical(inside.actor, outside.actor)


def test_tied_kappa_is_the_temperature():
    terms = algorithms.smac(score_penalty=loss_terms.ScorePenaltyTerm(kappa="temperature"))
    _, info = update(make_agent(temperature=0.37, kappa=2.0), make_batch(), jax.random.key(0), terms)
    assert float(info["kappa"]) == pytest.approx(0.37, rel=1e-5)


def test_penalty_points_at_policy_actions_change_the_penalty_only_where_asked():
    def penalty(fraction: float) -> float:
        terms = algorithms.smac(score_penalty=loss_terms.ScorePenaltyTerm(policy_fraction=fraction))
        return float(update(make_agent(), make_batch(), jax.random.key(0), terms)[1]["score_penalty"])

    assert penalty(0.0) == penalty(0.01)
    assert penalty(0.0) != penalty(0.5)


def test_penalty_at_policy_actions_alone_measures_no_other_points():
    terms = algorithms.smac(score_penalty=loss_terms.ScorePenaltyTerm(policy_fraction=1.0))
    _, info = update(make_agent(), make_batch(), jax.random.key(0), terms)
    assert [name for name, value in info.items() if not np.isfinite(value)] == []
    assert "score_explained_data" not in info


@pytest.mark.parametrize("policy_fraction", [0.0, 0.5])
def test_score_terms_of_a_share_are_those_of_the_first_rows_alone(policy_fraction):
    def score_terms(batch_fraction: float) -> Terms:
        return Terms(
            denoising=DenoisingTerm(batch_fraction=batch_fraction),
            score_penalty=loss_terms.ScorePenaltyTerm(
                weight=3.0, policy_fraction=policy_fraction, batch_fraction=batch_fraction
            ),
        )

    batch, key = make_batch(), jax.random.key(5)
    shared, shared_info = update(make_agent(), batch, key, score_terms(0.25))
    alone, alone_info = update(make_agent(), batch.share(0.25), key, score_terms(1.0))
    assert identical((shared.critic.params, shared.denoiser.params), (alone.critic.params, alone.denoiser.params))
    assert identical(shared_info, alone_info)
    whole, _ = update(make_agent(), batch, key, score_terms(1.0))
    assert not identical(whole.critic.params, shared.critic.params)


@pytest.mark.parametrize(
    ("terms", "functions"),
    [
        (
            algorithms.smac(behavior_cloning=loss_terms.BehaviorCloningTerm(observation_noise=0.1)),
            ((updates, "_noised", 1), (losses, "sac_actor", 6)),
        ),
        (
            algorithms.sac(td=loss_terms.TDTerm(subset=1, smoothing=0.2)),
            ((jax.random, "choice", 0), (losses, "smooth_actions", 1)),
        ),
    ],
    ids=["noise-and-sample", "subset-and-smoothing"],
)
def test_what_is_drawn_together_has_keys_of_its_own(monkeypatch, terms, functions):
    keys = {}

    def watch(module, name, position):
        original = getattr(module, name)

        def watched(*args, **kwargs):
            keys[name] = jax.random.key_data(args[position]).tolist()
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, watched)

    for function in functions:
        watch(*function)
    with jax.disable_jit():
        step(make_agent(), make_batch(), jax.random.key(0), terms)
    assert len(keys) == 2
    assert len({tuple(key) for key in keys.values()}) == 2


def test_a_share_has_a_row_at_least_and_the_whole_is_not_copied():
    batch = make_batch()
    assert batch.share(1e-9).rewards.shape == (1,)
    assert batch.share(1.0) is batch
    assert np.array_equal(batch.share(0.5).actions, batch.actions[: BATCH // 2])


@pytest.mark.parametrize("terms", [algorithms.smac(), algorithms.td3()], ids=["smac", "td3"])
def test_a_single_seed_under_the_seed_axis_is_the_seed_without(terms):
    key = jax.random.key(4)
    state = create_agents(AgentSpec(OBSERVATIONS, ACTIONS, (16, 16), target_actor=True), key[None], standardizer())
    alone = jax.tree.map(lambda leaf: leaf[0], state.replace(step=None)).replace(step=state.step)
    batches = jax.tree.map(lambda leaf: leaf[None], make_batch())
    for number in range(2):
        step_key = jax.random.fold_in(key, number)
        state, info = jax.jit(step_seeds, static_argnums=3)(state, batches, step_key[None], terms)
        alone, alone_info = update(alone, make_batch(), step_key, terms)
        mapped = jax.tree.map(lambda leaf: leaf[0], (state.replace(step=None), info))
        # Two programs, which XLA may fuse differently.
        chex.assert_trees_all_close(mapped, (alone.replace(step=None), alone_info), rtol=1e-5, atol=1e-6)
    assert state.step.shape == ()


def test_gradients_of_values_and_penalty_add_up_to_the_critics():
    terms = algorithms.smac(score_penalty=loss_terms.ScorePenaltyTerm(weight=0.5, policy_fraction=0.5))
    _, info = run(terms, 1)
    value, penalty, cosine, total = (
        float(info[name])
        for name in ("value_gradient_norm", "penalty_gradient_norm", "gradient_cosine", "critic_gradient_norm")
    )
    assert min(value, penalty) > 0
    assert total**2 == pytest.approx(value**2 + penalty**2 + 2 * cosine * value * penalty, rel=1e-4)
    assert {"score_explained_policy", "score_explained_data"} <= set(info)
    _, plain = run(dataclasses.replace(terms, score_penalty=None), 1)
    assert float(plain["critic_gradient_norm"]) == pytest.approx(value, rel=1e-4)


def test_cql_without_weight_is_temporal_difference_learning():
    plain = dataclasses.replace(CQL, conservative=None)
    off = dataclasses.replace(CQL, conservative=loss_terms.ConservativeTerm(weight=0.0, lagrange=True))
    state, info = run(off, 3)
    expected, expected_info = run(plain, 3)
    assert identical(state, expected)
    assert identical(info, expected_info)
    # The penalty's own draws are apart from the others'.
    faint, _ = run(dataclasses.replace(CQL, conservative=loss_terms.ConservativeTerm(weight=1e-20, samples=2)), 3)
    for name in ("actor", "critic", "target_critic", "temperature"):
        mine, plain_ones = (getattr(agent, name) for agent in (faint, expected))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), mine, plain_ones)


def test_calql_with_no_known_return_is_cql():
    calibrated = dataclasses.replace(CQL, conservative=loss_terms.ConservativeTerm(samples=2, calibrated=True))
    (cql, _), (unknown, info) = run(CQL, 3), run(calibrated, 3, -np.inf)
    assert identical(unknown, cql)
    assert float(info["calibrated_share"]) == 0.0
    known, info = run(calibrated, 3, 50.0)
    assert float(info["calibrated_share"]) == 1.0
    assert not identical(known.critic.params, cql.critic.params)


def test_blocks_of_the_gap_change_a_step_by_rounding_alone(monkeypatch):
    batch, terms = make_batch(rows=64), CALQL
    assert critic_update._conservative_block(batch) == 32
    assert critic_update._conservative_block(make_batch(rows=48)) is None
    results = [jax.jit(lambda state: step(state, batch, jax.random.key(0), terms))(make_agent())]
    monkeypatch.setattr(critic_update, "_conservative_block", lambda batch: None)
    results += [jax.jit(lambda state: step(state, batch, jax.random.key(0), terms))(make_agent())]
    (blocked, blocked_info), (whole, info) = results
    for name in ("cql_gap", "calibrated_share", "critic_gradient_norm"):
        assert float(blocked_info[name]) == pytest.approx(float(info[name]), rel=1e-5), name
    for network in ("critic", "multiplier"):
        mine, its = (getattr(agent, network).params for agent in (blocked, whole))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), mine, its)


def test_multiplier_multiplies_the_penalty():
    terms = Terms(conservative=loss_terms.ConservativeTerm(samples=2, lagrange=True, target_gap=-100.0))
    state = make_agent()
    doubled = state.replace(multiplier=state.multiplier.replace(params={"log": jnp.log(2.0)}))
    (after, info), (after_doubled, info_doubled) = (
        update(agent, make_batch(), jax.random.key(0), terms) for agent in (state, doubled)
    )
    assert float(info_doubled["cql_gap"]) == float(info["cql_gap"])
    assert float(info_doubled["critic_gradient_norm"]) == pytest.approx(2.0 * float(info["critic_gradient_norm"]))
    assert float(info_doubled["cql_multiplier"]) == pytest.approx(2.0)
    # The gap exceeds its target by far.
    assert after.multiplier.params["log"] > state.multiplier.params["log"]
    assert after_doubled.multiplier.params["log"] > doubled.multiplier.params["log"]


@pytest.mark.parametrize(
    ("terms", "network"),
    [
        (Terms(td=loss_terms.TDTerm(bootstrap="value")), "value"),
        (Terms(value=loss_terms.ValueTerm()), "value"),
        (Terms(advantage_weighted=loss_terms.AdvantageWeightedTerm()), "value"),
        (Terms(denoising=DenoisingTerm()), "denoiser"),
        (Terms(score_penalty=loss_terms.ScorePenaltyTerm()), "denoiser"),
        (Terms(score_distillation=loss_terms.ScoreDistillationTerm()), "denoiser"),
    ],
)
def test_absent_network_is_named(terms, network):
    state = make_agent(value=False, denoiser=False)
    assert (terms.needs_value, terms.needs_denoiser) == (network == "value", network == "denoiser")
    with pytest.raises(InputError, match=f"needs the network '{network}'.*set network.{network}"):
        jax.eval_shape(lambda s: step(s, make_batch(), jax.random.key(0), terms), state)


@pytest.mark.parametrize("terms", [algorithms.smac(), IQL, CALQL], ids=["smac", "iql", "calql"])
def test_every_leaf_keeps_type_shape_and_strength(terms):
    # A weak type in the first state would make XLA compile every scan a second time.
    state = make_agent()
    after, _ = jax.eval_shape(lambda s: step(s, make_batch(), jax.random.key(0), terms), state)
    for before_leaf, after_leaf in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert not before_leaf.weak_type
        assert (before_leaf.shape, before_leaf.dtype, False) == (
            after_leaf.shape,
            after_leaf.dtype,
            after_leaf.weak_type,
        )


def test_agent_of_seed_i_is_the_agent_of_its_key_alone():
    spec = AgentSpec(OBSERVATIONS, ACTIONS, hidden_dims=(16, 16), value=True)
    keys = jax.random.split(jax.random.key(5), 3)
    together = create_agents(spec, keys, standardizer())
    alone = create_agent(spec, keys[1], standardizer())
    for name in ("actor", "critic", "denoiser", "value"):
        mine = jax.tree.map(lambda leaf: leaf[1], getattr(together, name).params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), mine, getattr(alone, name).params)


def test_terms_are_hashable_values_read_from_mappings():
    mapping = {"discount": 0.9, "td": {"weight": 2.0, "soft": False}, "score_penalty": {"weight": 0.0}}
    terms = terms_from_mapping(mapping)
    assert terms == Terms(discount=0.9, td=loss_terms.TDTerm(weight=2.0, soft=False))
    assert hash(terms) == hash(terms_from_mapping(mapping))


@pytest.mark.parametrize(
    ("mapping", "cause"),
    [
        ({"penalty": {}}, "terms.penalty is unknown"),
        ({"td": {"wieght": 1.0}}, "terms.td.wieght is unknown"),
        ({"td": {"next_action": "best"}}, "terms.td.next_action='best'"),
        ({"temperature": {"weight": 1.0}}, "needs terms.sac_actor"),
        ({"score_penalty": {"batch_fraction": 0.0}}, "terms.score_penalty.batch_fraction=0.0 must lie in"),
        ({"denoising": {"batch_fraction": 1.5}}, "terms.denoising.batch_fraction=1.5 must lie in"),
        ({"behavior_cloning": {"observation_noise": -0.1}}, "terms.behavior_cloning.observation_noise=-0.1 must be"),
        ({"td": {"bootstrap": "actor"}}, "terms.td.bootstrap='actor'"),
        ({"td": {"samples": 2}}, "terms.td.samples above 1 needs .* soft=False"),
        ({"td": {"samples": 2, "soft": False, "next_action": "mode"}}, "terms.td.samples above 1 needs next_action"),
    ],
)
def test_wrong_terms_name_the_field(mapping, cause):
    with pytest.raises(InputError, match=cause):
        terms_from_mapping(mapping)


def test_a_mixture_of_actors_lies_between_them_and_changes_nothing_else():
    spec = AgentSpec(3, 2, hidden_dims=(4,))
    start, end = (create_agent(spec, jax.random.key(seed), standardizer()) for seed in (0, 1))
    assert identical(mix_actors(start, end, 0.0), start)
    assert identical(mix_actors(start, end, 1.0).actor.params, end.actor.params)
    mixed = mix_actors(start, end, 0.25)
    assert identical(mixed.replace(actor=start.actor), start)
    kernels = (agent.actor.params["params"]["mean"]["kernel"] for agent in (start, end, mixed))
    first, last, between = (np.asarray(kernel) for kernel in kernels)
    np.testing.assert_allclose(between, 0.75 * first + 0.25 * last, rtol=1e-6)


def test_advantages_may_have_a_learning_rate_of_their_own():
    spec = {"critic_dueling": True, "critic_learning_rate": 1e-3}
    plain, slow = (make_agent(**spec, **rate) for rate in ({}, {"advantage_learning_rate": 1e-4}))
    after = [update(state, make_batch(), jax.random.key(0), algorithms.td3())[0] for state in (plain, slow)]
    steps = [
        jax.tree.map(jnp.subtract, new.critic.params["params"], state.critic.params["params"])
        for new, state in zip(after, (plain, slow), strict=True)
    ]
    for name, share in {"mlp": 0.1, "value": 0.1, "state_mlp": 1.0, "state_value": 1.0}.items():
        expected = optax.tree.scale(share, steps[0][name])
        chex.assert_trees_all_close(steps[1][name], expected, atol=1e-7)
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(expected)), name
