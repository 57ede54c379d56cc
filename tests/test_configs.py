import itertools

import numpy as np
import pytest

from configs import bc, calql, cql, finetune, iql, rlpd, smac, smac_paper, td3bc
from launch.checks import check_config, make_offline_terms
from launch.session import make_terms, warn_of_kappa
from smac_jax.agent import algorithms, loss_terms
from smac_jax.envs.tasks import TASKS
from smac_jax.errors import InputError

NAMES = [name for task in TASKS for name in (task, f"{task}-small")]
OFFLINE = {
    "smac": smac,
    "smac_paper": smac_paper,
    "bc": bc,
    "td3bc": td3bc,
    "iql": iql,
    "cql": cql,
    "calql": calql,
}
CONFIGS = {**OFFLINE, "rlpd": rlpd}
SHARED_FIELDS = (
    "offline.steps",
    "online.steps",
    "online.warmup_steps",
    "eval.every",
    "eval.episodes",
    "network.hidden_dims",
    "batch_size",
)


def field(config, name):
    for part in name.split("."):
        config = config[part]
    return config


@pytest.mark.parametrize(("algorithm", "name"), itertools.product(CONFIGS, NAMES))
def test_every_task_has_a_complete_configuration(algorithm, name):
    config = CONFIGS[algorithm].get_config(name)
    check_config(config)
    assert all(field(config, shared) is not None for shared in SHARED_FIELDS)
    assert config.algorithm == ("none" if algorithm == "rlpd" else algorithm)
    assert config.online.warmup_steps < config.online.steps
    terms = make_terms(config)
    assert terms.trains_actor
    assert terms.trains_critic == (algorithm != "bc")
    assert terms.discount == TASKS[name.partition("-")[0]].discount
    # Exactly the networks that the terms need.
    assert (config.network.value, config.network.denoiser) == (terms.needs_value, terms.needs_denoiser)


@pytest.mark.parametrize(
    ("algorithm", "task", "name", "value"),
    [
        ("smac", "locomotion", "terms.score_penalty.weight", 1000.0),
        ("smac_paper", "locomotion", "terms.score_penalty.weight", 10.0),
        ("smac_paper", "adroit_binary", "terms.score_penalty.weight", 10.0),
        ("smac_paper", "kitchen", "terms.score_penalty.kappa", "temperature"),
        ("smac_paper", "kitchen", "reward.scale", 1.0),
        ("smac", "kitchen", "terms.behavior_cloning.observation_noise", 0.1),
        ("bc", "kitchen", "terms.behavior_cloning.observation_noise", 0.0),
        ("bc", "kitchen", "terms.behavior_cloning.loss_type", "log_prob"),
        ("td3bc", "locomotion", "terms.td3_actor.weight", 2.5),
        ("td3bc", "locomotion", "terms.td3_actor.normalize", True),
        ("td3bc", "locomotion", "terms.policy_delay", 2),
        ("iql", "antmaze", "terms.value.expectile", 0.9),
        ("iql", "antmaze", "terms.advantage_weighted.inverse_temperature", 10.0),
        ("iql", "antmaze", "reward.shift", -1.0),
        ("iql", "antmaze", "reward.scale", 1.0),
        ("iql", "locomotion", "terms.value.expectile", 0.7),
        ("iql", "locomotion", "terms.advantage_weighted.inverse_temperature", 3.0),
        ("iql", "locomotion", "reward.normalize", True),
        ("iql", "kitchen", "terms.value.expectile", 0.7),
        ("iql", "kitchen", "terms.advantage_weighted.inverse_temperature", 0.5),
        ("iql", "adroit_binary", "terms.advantage_weighted.inverse_temperature", 0.5),
        ("iql", "adroit_binary", "reward.normalize", False),
        ("cql", "adroit_binary", "terms.conservative.weight", 1.0),
        ("cql", "kitchen", "terms.conservative.weight", 5.0),
        ("cql", "kitchen", "terms.conservative.lagrange", False),
        ("cql", "kitchen", "terms.conservative.calibrated", False),
        ("cql", "antmaze", "terms.conservative.lagrange", True),
        ("cql", "antmaze", "terms.conservative.target_gap", 0.8),
        ("cql", "antmaze", "terms.td.samples", 10),
        ("calql", "antmaze", "terms.conservative.calibrated", True),
        ("calql", "kitchen", "online.offline_fraction", 0.25),
        ("calql", "antmaze", "online.offline_fraction", 0.5),
        ("rlpd", "locomotion", "network.critics", 10),
        ("rlpd", "locomotion", "terms.td.subset", 2),
        ("rlpd", "locomotion", "terms.td.soft", True),
        ("rlpd", "locomotion", "online.updates_per_step", 20),
        ("rlpd", "locomotion", "terms.policy_delay", 0),
        ("rlpd", "locomotion", "online.offline_fraction", 0.5),
        ("smac", "locomotion", "online.offline_fraction", 0.0),
        ("smac", "generic", "online.offline_fraction", 0.0),
        ("smac", "kitchen", "online.offline_fraction", 0.5),
        ("smac_paper", "locomotion", "online.offline_fraction", 0.5),
        ("smac", "kitchen", "offline.steps", 50_000),
        ("smac", "kitchen-small", "offline.steps", 50_000),
        ("smac_paper", "kitchen", "offline.steps", 250_000),
        ("rlpd", "antmaze", "terms.td.subset", 1),
        ("rlpd", "antmaze", "terms.td.soft", False),
        ("rlpd", "adroit_binary", "terms.td.soft", False),
        ("rlpd", "locomotion", "terms.sac_actor.reduction", "mean"),
    ],
)
def test_published_values(algorithm, task, name, value):
    assert field(CONFIGS[algorithm].get_config(task), name) == value


def missing_network(offline, online):
    """What keeps an online method from going on from an offline one, if anything does."""
    if online == "iql" and offline != "iql":
        return "state value"
    return "critic" if offline == "bc" else None


@pytest.mark.parametrize(("offline", "online"), itertools.product(OFFLINE, finetune.ALGORITHMS))
def test_fine_tuning_goes_on_from_what_was_trained(offline, online):
    config = OFFLINE[offline].get_config("pointmaze-small")
    if missing := missing_network(offline, online):
        with pytest.raises(InputError, match=f"^{offline} has trained no {missing}, which --algorithm={online} "):
            finetune.from_checkpoint(config, online)
        return
    after = finetune.from_checkpoint(config, online)
    check_config(after)
    terms = make_terms(after)
    assert not terms.needs_denoiser
    assert terms.needs_value == (online == "iql")
    assert (after.algorithm, after.online_algorithm, after.eval.every) == (offline, online, 0)
    quiet = online == "sac" and config.online.detached_spread
    assert after.network.to_dict() == config.network.to_dict() | ({"actor_detached_spread": True} if quiet else {})
    assert after.online.exploration_noise == (finetune.EXPLORATION_NOISE if online in ("td3", "td3bc") else None)
    assert after.online.updates_per_step == (4 if online == "wsrl" else 1)
    assert after.online.offline_fraction == (0.0 if online == "wsrl" else 0.5)


@pytest.mark.parametrize("algorithm", ["sac", "td3", "td3bc", "wsrl", "cql", "calql"])
def test_fine_tuning_keeps_what_gives_the_critic_its_meaning(algorithm):
    offline = smac.get_config("pointmaze-small")
    offline.terms.discount, offline.terms.tau, offline.eval.every = 0.9, 0.02, 123
    offline.terms.temperature.entropy_per_dim = -0.5
    before = offline.to_dict()
    terms = make_terms(finetune.from_checkpoint(offline, algorithm))
    assert (terms.discount, terms.tau) == (0.9, 0.02)
    assert terms.temperature == (
        None if algorithm in ("td3", "td3bc") else loss_terms.TemperatureTerm(entropy_per_dim=-0.5)
    )
    assert offline.to_dict() == before, "the checkpoint's own configuration is left alone"


@pytest.mark.parametrize(
    ("actor", "critic", "advantage"),
    [(0.0, 0.0, 0.0), (1e-5, 0.0, 0.0), (0.0, 3e-5, 0.0), (1e-5, 3e-5, 0.0), (0.0, 0.0, 3e-5)],
)
def test_fine_tuning_may_move_actor_and_critic_more_slowly(actor, critic, advantage):
    offline = td3bc.get_config("adroit_binary")
    offline.online.actor_learning_rate, offline.online.critic_learning_rate = actor, critic
    offline.online.advantage_learning_rate = advantage
    rates = finetune.from_checkpoint(offline, "sac").optimizer
    assert (rates.actor, rates.critic, rates.advantage) == (actor or 3e-4, critic or 3e-4, advantage)
    assert rates.temperature == pytest.approx(rates.actor), "which keeps the actor's pace"


def test_demonstrations_are_imitated_offline_and_not_online():
    config = smac.get_config("kitchen")
    terms = make_terms(config)
    assert terms.td.bootstrap == "value"
    assert config.network.critic_dueling
    imitation = loss_terms.BehaviorCloningTerm(loss_type="log_prob", observation_noise=0.1)
    assert (terms.behavior_cloning, terms.sac_actor) == (imitation, None)
    online = finetune.from_checkpoint(config, "sac")
    assert make_terms(online) == algorithms.sac(
        tau=config.terms.tau, td=loss_terms.TDTerm(soft=False), sac_actor=loss_terms.SACActorTerm(antithetic=True)
    )
    assert online.optimizer.actor == pytest.approx(config.optimizer.actor / 30)
    # The maze's are neither.
    maze = make_terms(smac.get_config("pointmaze"))
    assert (maze.behavior_cloning, maze.value, maze.td) == (None, None, loss_terms.TDTerm())


def test_score_is_built_in_but_in_the_maze_where_it_is_matched():
    for task in TASKS:
        built_in = task != "pointmaze"
        config = smac.get_config(task)
        terms = make_terms(config)
        assert config.network.critic_anchored == terms.anchor_follows == built_in
        assert config.network.actor_detached_spread == (task == "adroit_binary")
        assert config.network.actor_layer_norm == (task in ("kitchen", "adroit_binary", "antmaze"))
        assert config.network.denoiser == bool(terms.denoising) == terms.needs_denoiser == (not built_in)
        assert terms.score_penalty


@pytest.mark.parametrize(("task", "steps"), [("adroit_binary", 10), ("kitchen", 1), ("antmaze", 1), ("locomotion", 1)])
def test_values_of_sparse_data_that_mostly_fails_look_ahead(task, steps):
    assert make_terms(smac.get_config(task)).lookahead == steps
    assert make_terms(iql.get_config(task)).lookahead == 1


def test_imitations_of_a_hand_lead():
    assert {task: make_terms(smac.get_config(task)).lead for task in TASKS} == {
        task: 3 if task == "adroit_binary" else 0 for task in TASKS
    }


@pytest.mark.parametrize("task", ["locomotion", "generic"])
def test_data_with_dense_rewards_is_imitated_by_advantage(task):
    config = smac.get_config(task)
    terms = make_terms(config)
    assert (terms.sac_actor, terms.behavior_cloning, terms.denoising) == (None, None, None)
    assert terms.advantage_weighted == loss_terms.AdvantageWeightedTerm(inverse_temperature=0.5)
    assert terms.value.target == "td"
    assert config.network.critic_advantage_width == 0.5


@pytest.mark.parametrize("task", sorted(set(TASKS) - {"pointmaze"}))
def test_all_built_in_scores_have_one_kappa_one_penalty_and_but_for_the_kitchen_the_same_rates(task):
    config = smac.get_config(task)
    assert config.kappa == 5.0
    rates, online = config.optimizer, finetune.from_checkpoint(config, "sac").optimizer
    assert online.actor == rates.actor / 30
    assert (online.critic, online.advantage) == (rates.critic, rates.critic / (100 if task == "kitchen" else 10))
    assert config.terms.score_penalty.weight == 1000.0


@pytest.mark.parametrize(
    ("algorithm", "task", "spread", "warned"),
    [
        ("smac", "generic", 1.0, True),
        ("smac", "generic", 150.0, False),
        ("smac", "generic", 1e4, True),
        ("smac", "kitchen", 1.0, False),
        ("iql", "generic", 1.0, False),
    ],
)
def test_kappa_far_from_the_spread_of_own_data_is_said(algorithm, task, spread, warned, caplog):
    warn_of_kappa(OFFLINE[algorithm].get_config(task), spread * np.array([-1.0, 1.0, 1.0, -1.0]))
    assert [f"--config.kappa={spread / 30:.2g}, " in record.message for record in caplog.records] == [True] * warned


@pytest.mark.parametrize("offline", [smac, iql, td3bc])
@pytest.mark.parametrize(("task", "soft"), [("adroit_binary", False), ("kitchen", False), ("locomotion", True)])
def test_targets_of_sac_have_an_entropy_bonus_where_the_task_has_one(offline, task, soft):
    assert make_terms(finetune.from_checkpoint(offline.get_config(task), "sac")).td.soft == soft


@pytest.mark.parametrize(
    ("offline", "quiet"), [(smac.get_config, True), (smac_paper.get_config, False), (iql.get_config, False)]
)
def test_sac_moves_the_mode_beside_a_built_in_score_by_the_critic_alone(offline, quiet):
    config = offline("kitchen")
    online = finetune.from_checkpoint(config, "sac")
    assert make_terms(online).sac_actor.antithetic == online.network.actor_detached_spread == quiet
    assert not config.network.actor_detached_spread
    assert finetune.from_checkpoint(offline("adroit_binary"), "sac").network.actor_detached_spread == quiet
    wide = finetune.from_checkpoint(offline("pointmaze"), "sac")
    assert not make_terms(wide).sac_actor.antithetic
    assert not wide.network.actor_detached_spread


def test_an_anchor_that_is_never_trained_is_refused():
    config = smac.get_config("kitchen")
    assert make_offline_terms(config).anchor_follows
    config.terms.anchor_follows = False
    with pytest.raises(InputError, match=r"--config\.network\.critic_anchored=True .* untrained policy") as caught:
        make_offline_terms(config)
    assert len(str(caught.value).splitlines()) == 1


def test_paper_form_is_the_same_on_narrow_data():
    narrow, wide = (smac_paper.get_config(task) for task in ("kitchen", "locomotion"))
    assert make_terms(narrow) == make_terms(wide)
    assert not narrow.network.critic_dueling
    assert not narrow.network.critic_anchored
    assert not narrow.network.actor_layer_norm
    assert not smac_paper.get_config("adroit_binary").network.actor_detached_spread
    assert narrow.kappa == wide.kappa


def test_fine_tuning_puts_the_online_methods_terms_in_place():
    offline = smac_paper.get_config("locomotion")
    terms = {name: make_terms(finetune.from_checkpoint(offline, name)) for name in ("sac", "td3", "td3bc", "wsrl")}
    assert terms == {
        "sac": algorithms.sac(),
        "td3": algorithms.td3(),
        "td3bc": algorithms.td3bc(),
        "wsrl": algorithms.sac(td=loss_terms.TDTerm(soft=False, subset=2), policy_delay=4),
    }
    assert make_terms(finetune.from_checkpoint(offline, "cql")) == make_terms(cql.get_config("locomotion"))


@pytest.mark.parametrize(
    ("algorithm", "name", "value"),
    [("iql", "value.expectile", 0.8), ("cql", "conservative.weight", 7.0), ("calql", "conservative.samples", 3)],
)
def test_own_continuation_keeps_the_terms_of_the_pre_training(algorithm, name, value):
    offline = OFFLINE[algorithm].get_config("kitchen")
    offline.terms.update_from_flattened_dict({name: value, "discount": 0.9})
    online = finetune.from_checkpoint(offline, algorithm)
    assert field(online.terms, name) == value
    assert online.terms.to_dict() == offline.terms.to_dict()
    assert online.online.offline_fraction == (0.25 if algorithm == "calql" else 0.5)


@pytest.mark.parametrize("updates", [1, 3])
def test_actor_moves_once_an_environment_step_whatever_the_updates(updates):
    scratch = rlpd.get_config("pointmaze")
    scratch.online.updates_per_step = updates
    assert make_terms(finetune.from_scratch(scratch, "rlpd")).policy_delay == updates
    config = finetune.from_checkpoint(smac.get_config("pointmaze"), "wsrl")
    config.online.updates_per_step = updates
    assert make_terms(config).policy_delay == updates


@pytest.mark.parametrize(
    ("module", "changes", "message"),
    [
        (smac_paper, {"terms.td.bootstrap": "value", "network.value": True}, "terms.value.weight=0"),
        (smac_paper, {"terms.advantage_weighted.weight": 1.0, "network.value": True}, "terms.value.weight=0"),
        (smac_paper, {"terms.denoising.weight": 0.0}, "terms.denoising.weight=0"),
        (iql, {"terms.value.weight": 0.0}, "terms.value.weight=0"),
    ],
)
def test_terms_that_read_an_untrained_network_are_refused(module, changes, message):
    config = module.get_config("locomotion")
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=message):
        make_offline_terms(config)


def test_own_continuation_needs_networks_that_were_trained():
    config = smac_paper.get_config("locomotion")
    config.network.value = True
    with pytest.raises(InputError, match="has trained no state value"):
        finetune.from_checkpoint(config, "iql")


def test_method_without_offline_phase_keeps_its_own_configuration():
    config = rlpd.get_config("antmaze")
    before = config.to_dict()
    online = finetune.from_scratch(config, "rlpd")
    assert make_terms(online) == make_terms(config)
    assert (online.online_algorithm, online.online.exploration_noise) == ("rlpd", None)
    assert config.to_dict() == before


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="unknown task 'maze'"):
        smac.get_config("maze")
    with pytest.raises(InputError, match="unknown task 'pointmaze-tiny'"):
        smac.get_config("pointmaze-tiny")
    with pytest.raises(InputError, match="use one of sac, td3, td3bc, wsrl, iql, cql, calql, rlpd"):
        finetune.from_checkpoint(smac.get_config("pointmaze"), "ppo")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("eval.every", -1),
        ("eval.early_every", -1),
        ("online.actor_learning_rate", -1e-4),
        ("terms.discount", 2.0),
        ("reward.scale", float("nan")),
        ("kappa", 0.0),
        ("network.critic_advantage_width", 0.0),
        ("network.anchor_tail", 0.0),
    ],
)
def test_values_that_cannot_work_are_named(name, value):
    config = smac.get_config("locomotion")
    config.update_from_flattened_dict({name: value})
    with pytest.raises(InputError, match=f"{name}="):
        check_config(config)
