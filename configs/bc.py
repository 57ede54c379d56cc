"""Behaviour cloning: `--config=configs/bc.py:TASK`. It trains no critic, so no online method goes on from it."""

from ml_collections import ConfigDict

from configs import common
from smac_jax.envs.tasks import TASKS


def get_config(name: str = "locomotion") -> ConfigDict:
    """Behaviour cloning on a task; `TASK-small` is a preset for two CPU cores."""
    config = common.get_config(name)
    config.algorithm = "bc"
    config.terms = terms = ConfigDict()
    # Discount gamma, of the logged values alone.
    terms.discount = TASKS[config.task].discount
    terms.tau = 0.005

    # Imitation: `log_prob` of the tanh-Gaussian, or `mse` of its mode.
    terms.behavior_cloning = ConfigDict()
    terms.behavior_cloning.weight = 1.0
    terms.behavior_cloning.loss_type = "log_prob"
    # Noise on the observations that it sees, in standard deviations of the data.
    terms.behavior_cloning.observation_noise = 0.0
    return config
