"""Configurations that cannot work, told before anything runs."""

import math

from ml_collections import ConfigDict

from configs.common import make_terms
from smac_jax.agent import Terms
from smac_jax.envs.tasks import TASKS
from smac_jax.errors import InputError
from smac_jax.networks.mlp import ACTIVATIONS
from smac_jax.optim import OPTIMIZERS


def check_config(config: ConfigDict) -> None:
    """Check the values that several modules rely on.

    Raises:
        InputError: a value that cannot work.
    """
    positive = {
        "batch_size": config.batch_size,
        "network.critics": config.network.critics,
        "optimizer.muon_every": config.optimizer.muon_every,
        "offline.steps": config.offline.steps,
        "online.steps": config.online.steps,
        "online.updates_per_step": config.online.updates_per_step,
        "eval.episodes": config.eval.episodes,
        "log_every": config.log_every,
        "checkpoint_every": config.checkpoint_every,
        "temperature": config.temperature,
        "kappa": config.kappa,
        "network.critic_advantage_width": config.network.critic_advantage_width,
        "network.anchor_tail": config.network.anchor_tail,
    }
    for name, value in positive.items():
        if not 0 < value < math.inf:
            raise InputError(f"--config.{name}={value} must be positive")
    for name, value in {
        "optimizer.actor": config.optimizer.actor,
        "optimizer.critic": config.optimizer.critic,
        "optimizer.advantage": config.optimizer.advantage,
        "optimizer.denoiser": config.optimizer.denoiser,
        "optimizer.temperature": config.optimizer.temperature,
        "online.warmup_steps": config.online.warmup_steps,
        "online.actor_learning_rate": config.online.actor_learning_rate,
        "online.critic_learning_rate": config.online.critic_learning_rate,
        "online.advantage_learning_rate": config.online.advantage_learning_rate,
        "online.replay_capacity": config.online.replay_capacity,
        "eval.every": config.eval.every,
        "eval.early_every": config.eval.early_every,
        "eval.early_steps": config.eval.early_steps,
    }.items():
        if not 0 <= value < math.inf:
            raise InputError(f"--config.{name}={value} must be a number, and not negative")
    if not 0 <= config.online.offline_fraction <= 1:
        raise InputError(f"--config.online.offline_fraction={config.online.offline_fraction} must lie in [0, 1]")
    advantages = {
        "optimizer.advantage": config.optimizer.advantage,
        "online.advantage_learning_rate": config.online.advantage_learning_rate,
    }
    for name, value in advantages.items():
        if value and not (config.network.critic_dueling and config.optimizer.critic):
            raise InputError(
                f"--config.{name}={value} is a rate of advantages beside that of the values of states; leave it 0, or "
                "set --config.network.critic_dueling=True and an --config.optimizer.critic above 0"
            )
    terms = make_terms(config)
    if terms.discount == 1 and TASKS[config.task].failure_reward is not None:
        raise InputError(
            f"--config.terms.discount=1.0 gives failures of {config.task}, which last for ever, no finite value; set "
            "it below 1"
        )
    for name in ("scale", "shift"):
        if not math.isfinite(config.reward[name]):
            raise InputError(f"--config.reward.{name}={config.reward[name]} must be a number")
    for name, options in (("activation", ACTIVATIONS), ("optimizer", OPTIMIZERS)):
        value = config.network.activation if name == "activation" else config.optimizer.name
        if value not in options:
            raise InputError(f"unknown {name} {value!r}; use one of {', '.join(options)}")
    widths = config.network.hidden_dims
    if not widths or not all(isinstance(width, int) and width > 0 for width in widths):
        raise InputError(f"--config.network.hidden_dims={widths} must be positive integers, such as (256,256)")


def make_offline_terms(config: ConfigDict) -> Terms:
    """The terms of a pre-training.

    Raises:
        InputError: a term reads a network that nothing moves from where it was initialised.
    """
    terms = make_terms(config)
    if config.network.critic_anchored and not terms.anchor_follows:
        raise InputError(
            "--config.network.critic_anchored=True puts the critic's values on an untrained policy; set "
            "--config.terms.anchor_follows=True (configs/smac.py has it), or network.critic_anchored=False"
        )
    for name, untrained in (
        ("value", terms.reads_value and not terms.value),
        ("denoising", terms.reads_denoiser and not terms.denoising),
    ):
        if untrained:
            raise InputError(
                f"--config.terms.{name}.weight=0 leaves a network untrained that other terms read; give it a weight, "
                "such as 1"
            )
    return terms
