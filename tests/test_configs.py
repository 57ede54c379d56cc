import pytest

from configs import finetune, smac
from launch.session import check_config, make_terms
from smac_jax.agent import terms as catalogue
from smac_jax.envs.tasks import TASKS
from smac_jax.errors import InputError

NAMES = [name for task in TASKS for name in (task, f"{task}-small")]
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


@pytest.mark.parametrize("name", NAMES)
def test_every_task_has_a_complete_configuration(name):
    config = smac.get_config(name)
    check_config(config)
    assert all(field(config, shared) is not None for shared in SHARED_FIELDS)
    terms = make_terms(config)
    assert terms.score_penalty is not None
    assert terms.denoising is not None
    assert config.online.warmup_steps < config.online.steps


@pytest.mark.parametrize("algorithm", finetune.ALGORITHMS)
def test_fine_tuning_replaces_the_terms_and_keeps_what_gives_the_critic_its_meaning(algorithm):
    offline = smac.get_config("pointmaze-small")
    offline.terms.discount, offline.terms.tau, offline.eval.every = 0.9, 0.02, 123
    offline.terms.temperature.entropy_per_dim = -0.5
    online = finetune.apply(offline, algorithm)
    terms = make_terms(online)
    assert (terms.discount, terms.tau) == (0.9, 0.02)
    assert not terms.needs_denoiser
    assert online.network.to_dict() == offline.network.to_dict()
    assert online.eval.every == 0
    if algorithm == "sac":
        assert terms.temperature == catalogue.TemperatureTerm(entropy_per_dim=-0.5)
        assert online.online.exploration_noise is None
    else:
        assert terms.policy_delay == 2
        assert online.online.exploration_noise == finetune.EXPLORATION_NOISE
    assert offline.terms.score_penalty.weight > 0, "the checkpoint's own configuration is left alone"


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="unknown task 'maze'"):
        smac.get_config("maze")
    with pytest.raises(InputError, match="unknown task 'pointmaze-tiny'"):
        smac.get_config("pointmaze-tiny")
    with pytest.raises(InputError, match="use one of sac, td3, td3bc"):
        finetune.apply(smac.get_config("pointmaze"), "ppo")


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 0), ("eval.every", -1), ("terms.discount", 2.0), ("reward.scale", float("nan")), ("kappa", 0.0)],
)
def test_values_that_cannot_work_are_named(name, value):
    config = smac.get_config("locomotion")
    config.update_from_flattened_dict({name: value})
    with pytest.raises(InputError, match=f"--config.{name}="):
        check_config(config)
