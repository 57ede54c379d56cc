"""SMAC as its paper writes it (arXiv 2602.17632), the same on every task: `--config=configs/smac_paper.py:TASK`.

Kappa is the temperature, which is learned; targets are SAC's; nothing imitates the data but through the critic.
docs/recipe.md compares it with configs/smac.py, which departs from it on narrow data.
"""

from ml_collections import ConfigDict

from configs import common, smac
from smac_jax.envs.tasks import TASKS


def get_config(name: str = "locomotion") -> ConfigDict:
    """The paper's SMAC on a task; `TASK-small` is a preset for two CPU cores."""
    config = smac.get_config(name)
    config.algorithm = "smac_paper"
    terms = config.terms
    config.temperature = 1.0
    config.offline.steps = common.get_config(name).offline.steps
    config.reward.scale = TASKS[config.task].reward_scale
    config.network.value = config.network.critic_dueling = config.network.critic_anchored = False
    config.network.critic_advantage_width = 1.0
    config.network.actor_detached_spread = config.network.actor_layer_norm = terms.anchor_follows = False
    config.network.denoiser = True
    config.kappa = 1.0
    config.online.actor_learning_rate = config.online.advantage_learning_rate = 0.0
    config.online.offline_fraction = 0.5
    config.online.antithetic = config.online.detached_spread = False
    terms.tau = 0.005
    terms.td.bootstrap = "critic"
    terms.value.weight = 0.0
    terms.denoising.weight = 1.0
    terms.score_penalty.weight = 10.0
    terms.score_penalty.kappa = "temperature"
    terms.score_penalty.policy_fraction = 0.0
    terms.score_penalty.batch_fraction = terms.denoising.batch_fraction = 1.0
    terms.sac_actor.weight = 1.0
    terms.behavior_cloning.weight = terms.advantage_weighted.weight = 0.0
    terms.temperature.weight = 1.0
    return config
