"""Online methods: what fine-tuning puts in place of the offline terms.

Everything else - networks, optimisers, budgets, evaluation - comes from the checkpoint's configuration.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict, config_dict

from configs import calql, common, cql, iql, rlpd
from smac_jax.agent import algorithms, loss_terms
from smac_jax.agent.terms import Terms
from smac_jax.errors import InputError

EXPLORATION_NOISE = 0.1
OFFLINE = {"iql": iql, "cql": cql, "calql": calql}
"""Offline methods that go on online with their own terms."""

# What the checkpoint has settled: its arrays would not fit, or not mean the same, under other values.
_SETTLED = (
    "algorithm",
    "online_algorithm",
    "task",
    "network",
    "reward",
    "temperature",
    "kappa",
    "offline",
    "online.actor_learning_rate",
    "online.critic_learning_rate",
    "online.advantage_learning_rate",
    "optimizer.name",
    "optimizer.muon_every",
    "terms.discount",
)


def is_settled(field: str) -> bool:
    """Whether a field, such as `network.critics`, is the checkpoint's, and none that a fine-tuning may set."""
    return any(field == settled or field.startswith(f"{settled}.") for settled in _SETTLED)


def _fields(terms: Terms) -> ConfigDict:
    """Terms as configuration fields, without those that are off."""
    return ConfigDict({name: value for name, value in dataclasses.asdict(terms).items() if value is not None})


def _replace_terms(config: ConfigDict, terms: ConfigDict) -> None:
    """Put terms in place of the offline ones.

    Discount, tau and target entropy stay those of the pre-training: its critic means nothing under another discount,
    and a jump of the target entropy would be a jump of the policy.
    """
    terms.discount, terms.tau = config.terms.discount, config.terms.tau
    if "temperature" in terms and "temperature" in config.terms:
        terms.temperature.entropy_per_dim = config.terms.temperature.entropy_per_dim
    config.terms = terms


def _sac(config: ConfigDict) -> None:
    config.network.actor_detached_spread |= config.online.detached_spread
    td = loss_terms.TDTerm(soft=config.online.entropy_backup)
    actor = loss_terms.SACActorTerm(antithetic=config.online.antithetic)
    _replace_terms(config, _fields(algorithms.sac(td=td, sac_actor=actor)))


def _td3(config: ConfigDict) -> None:
    _replace_terms(config, _fields(algorithms.td3()))
    config.online.exploration_noise = EXPLORATION_NOISE


def _td3bc(config: ConfigDict) -> None:
    _replace_terms(config, _fields(algorithms.td3bc()))
    config.online.exploration_noise = EXPLORATION_NOISE


def _wsrl(config: ConfigDict) -> None:
    """SAC without offline data after a warm-up (Zhou et al., 2024, arXiv 2412.07762): 4 critic updates a step."""
    _replace_terms(config, _fields(algorithms.sac(td=loss_terms.TDTerm(soft=False, subset=2))))
    # One of the actor an environment step.
    config.terms.policy_delay = 0
    config.online.offline_fraction = 0.0
    config.online.updates_per_step = 4


def _continue_own(module: Any) -> Callable[[ConfigDict], None]:
    """An offline method's own terms, those of the checkpoint where it is of the same method."""

    def change(config: ConfigDict) -> None:
        own = module.get_config(config.preset)
        if config.algorithm != own.algorithm:
            _replace_terms(config, own.terms)
        config.online.offline_fraction = own.online.offline_fraction

    return change


ALGORITHMS: dict[str, Callable[[ConfigDict], None]] = {
    "sac": _sac,
    "td3": _td3,
    "td3bc": _td3bc,
    "wsrl": _wsrl,
    **{name: _continue_own(module) for name, module in OFFLINE.items()},
}
"""Change of a pre-training's configuration into that of fine-tuning, by online method."""

FROM_SCRATCH = {"rlpd": rlpd}
"""Online methods without an offline phase."""


def _check_networks(config: ConfigDict, offline: Terms, algorithm: str) -> None:
    online = common.make_terms(config)
    missing = {
        "state value": online.needs_value and not (config.network.value and offline.value),
        "score model": online.needs_denoiser and not (config.network.denoiser and offline.denoising),
        "critic": online.needs_trained_critic and not offline.trains_critic,
    }
    for name, is_missing in missing.items():
        if is_missing:
            raise InputError(
                f"{config.algorithm} has trained no {name}, which --algorithm={algorithm} goes on from; choose another "
                "--algorithm, or pretrain by another method"
            )


def _begin(config: ConfigDict, algorithm: str) -> None:
    config.online_algorithm = algorithm
    # Spread of the noise on the policy's mode while collecting; None samples the policy instead.
    config.online.exploration_noise = config_dict.placeholder(float)


def from_checkpoint(config: ConfigDict, algorithm: str) -> ConfigDict:
    """The configuration of fine-tuning by `algorithm` what was pre-trained with `config`.

    Raises:
        InputError: unknown method, or one that needs networks which the pre-training has not trained.
    """
    if algorithm not in ALGORITHMS:
        raise InputError(f"unknown --algorithm={algorithm}; use one of {', '.join((*ALGORITHMS, *FROM_SCRATCH))}")
    config = ConfigDict(config.to_dict())
    offline = common.make_terms(config)
    config.eval.every = config.eval.early_every = config.eval.early_steps = 0
    if config.online.actor_learning_rate:
        config.optimizer.temperature *= config.online.actor_learning_rate / config.optimizer.actor
        config.optimizer.actor = config.online.actor_learning_rate
    config.optimizer.critic = config.online.critic_learning_rate or config.optimizer.critic
    config.optimizer.advantage = config.online.advantage_learning_rate or config.optimizer.advantage
    _begin(config, algorithm)
    ALGORITHMS[algorithm](config)
    _check_networks(config, offline, algorithm)
    return config.lock()


def from_scratch(config: ConfigDict, algorithm: str) -> ConfigDict:
    """The configuration of training online from scratch by a method of `FROM_SCRATCH` with its own configuration."""
    config = ConfigDict(config.to_dict())
    _begin(config, algorithm)
    return config.lock()
