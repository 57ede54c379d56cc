"""IQL (Kostrikov et al., 2021, arXiv 2110.06169): `--config=configs/iql.py:TASK`.

Expectile, inverse temperature and rewards by family are those of the authors' configurations. Different from them: the
policy is our tanh-Gaussian with a spread that depends on the state, so that SAC can take it over; the actor's learning
rate is constant; no dropout (theirs has 0.1 in kitchen and Adroit).
"""

from ml_collections import ConfigDict

from configs import common
from smac_jax.envs.tasks import TASKS


def get_config(name: str = "locomotion") -> ConfigDict:
    """IQL on a task; `TASK-small` is a preset for two CPU cores."""
    config = common.get_config(name)
    config.algorithm = "iql"
    config.optimizer.name = "adam"
    config.network.critic_layer_norm = False
    config.network.value = True
    if config.task == "locomotion":
        config.reward.normalize = True
    if config.task in ("antmaze", "pointmaze"):
        # -1 on the way, 0 at the goal.
        config.reward.scale, config.reward.shift = 1.0, -1.0

    config.terms = terms = ConfigDict()
    terms.discount = TASKS[config.task].discount
    terms.tau = 0.005

    # Temporal-difference error towards the state value.
    terms.td = ConfigDict()
    terms.td.weight = 1.0
    terms.td.bootstrap = "value"

    # Expectile of the state value.
    terms.value = ConfigDict()
    terms.value.weight = 1.0
    terms.value.expectile = 0.9 if config.task in ("antmaze", "pointmaze") else 0.7

    # Imitation weighted by exp(inverse_temperature * advantage).
    terms.advantage_weighted = ConfigDict()
    terms.advantage_weighted.weight = 1.0
    terms.advantage_weighted.inverse_temperature = {
        "antmaze": 10.0,
        "pointmaze": 10.0,
        "kitchen": 0.5,
        "adroit_binary": 0.5,
    }.get(config.task, 3.0)
    terms.advantage_weighted.max_weight = 100.0
    # Spread of the noise on the observations that it and its advantages see, in standard deviations of the data.
    terms.advantage_weighted.observation_noise = 0.0
    return config
