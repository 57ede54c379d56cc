"""TD3+BC (Fujimoto & Gu, 2021, arXiv 2106.06860): `--config=configs/td3bc.py:TASK`.

The paper has one set of hyper-parameters, for locomotion; the authors' code uses it elsewhere as well, without
normalised observations in AntMaze, where ours are normalised too. The critic's LayerNorm is not the paper's: without
it the return on HalfCheetah's replay data falls by a third between some evaluations.
"""

from ml_collections import ConfigDict

from configs import common
from smac_jax.envs.tasks import TASKS


def get_config(name: str = "locomotion") -> ConfigDict:
    """TD3+BC on a task; `TASK-small` is a preset for two CPU cores."""
    config = common.get_config(name)
    config.algorithm = "td3bc"
    config.optimizer.name = "adam"

    config.terms = terms = ConfigDict()
    terms.discount = TASKS[config.task].discount
    terms.tau = 0.005
    # Steps between updates of the actor and of the target critic.
    terms.policy_delay = 2
    terms.target_delay = 2

    # Temporal-difference error, with target policy smoothing.
    terms.td = ConfigDict()
    terms.td.weight = 1.0
    terms.td.next_action = "mode"
    terms.td.smoothing = 0.2
    terms.td.smoothing_clip = 0.5
    terms.td.soft = False

    # Value term: the paper's alpha, divided by the batch's mean |Q|.
    terms.td3_actor = ConfigDict()
    terms.td3_actor.weight = 2.5
    terms.td3_actor.reduction = "first"
    terms.td3_actor.normalize = True

    # Imitation.
    terms.behavior_cloning = ConfigDict()
    terms.behavior_cloning.weight = 1.0
    terms.behavior_cloning.loss_type = "mse"
    return config
