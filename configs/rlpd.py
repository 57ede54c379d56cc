"""RLPD (Ball et al., 2023, arXiv 2302.02948): online from scratch with offline data in every batch.

`python -m launch.finetune --algorithm=rlpd --config=configs/rlpd.py:TASK --dataset=MINARI_ID --workdir=DIR`
"""

from ml_collections import ConfigDict

from configs import common
from smac_jax.envs.tasks import TASKS


def get_config(name: str = "locomotion") -> ConfigDict:
    """RLPD on a task; `TASK-small` is a preset for two CPU cores, with one update a step instead of 20."""
    config = common.get_config(name)
    small = config.preset != config.task
    # There is no offline phase.
    config.algorithm = "none"
    config.optimizer.name = "adam"
    config.network.critics = 10
    # Half of each batch is offline data, the first steps are those of the untrained policy.
    config.online.offline_fraction = 0.5
    config.online.updates_per_step = 1 if small else 20

    config.terms = terms = ConfigDict()
    terms.discount = TASKS[config.task].discount
    terms.tau = 0.005
    # Critic updates for one of the actor; 0 makes one of the actor an environment step.
    terms.policy_delay = 0

    # Temporal-difference error: the minimum of two critics of ten, one in AntMaze; entropy bonus in locomotion alone.
    terms.td = ConfigDict()
    terms.td.weight = 1.0
    terms.td.subset = 1 if config.task == "antmaze" else 2
    terms.td.soft = config.task == "locomotion"

    # Maximum-entropy policy loss against the mean of the critics.
    terms.sac_actor = ConfigDict()
    terms.sac_actor.weight = 1.0
    terms.sac_actor.reduction = "mean"

    # Automatic temperature.
    terms.temperature = ConfigDict()
    terms.temperature.weight = 1.0
    terms.temperature.entropy_per_dim = -0.5
    return config
