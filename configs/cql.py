"""CQL (Kumar et al., 2020, arXiv 2006.04779): `--config=configs/cql.py:TASK`.

Weights, learning rates and back-up by family are those with which Cal-QL's authors ran it (arXiv 2303.05479, and their
published scripts); locomotion is WSRL's (arXiv 2412.07762). PointMaze, which neither has, is treated as AntMaze: with
its usual rewards of -1 and 0 the weight of 5 outweighed them, and the maze was never solved.
"""

from ml_collections import ConfigDict

from configs import common
from smac_jax.envs.tasks import TASKS


def get_config(name: str = "locomotion") -> ConfigDict:
    """CQL on a task; `TASK-small` is a preset for two CPU cores."""
    config = common.get_config(name)
    small = config.preset != config.task
    config.algorithm = "cql"
    maze = config.task in ("antmaze", "pointmaze")
    if maze:
        # -5 on the way, 5 at the goal.
        config.reward.scale, config.reward.shift = 10.0, -5.0
    config.optimizer.name = "adam"
    config.network.critic_layer_norm = False
    if not small:
        # Over 250k updates and more; the preset has too few for it.
        config.optimizer.actor = config.optimizer.temperature = 1e-4

    config.terms = terms = ConfigDict()
    terms.discount = TASKS[config.task].discount
    terms.tau = 0.005

    # Temporal-difference error: the largest of 10 next actions' values, no entropy bonus.
    terms.td = ConfigDict()
    terms.td.weight = 1.0
    terms.td.samples = 10
    terms.td.soft = False

    # Conservative penalty.
    terms.conservative = ConfigDict()
    # alpha.
    terms.conservative.weight = 1.0 if config.task == "adroit_binary" else 5.0
    # Random, policy and next-policy actions each.
    terms.conservative.samples = 10
    # Bound the policy's values below by the data's returns: Cal-QL.
    terms.conservative.calibrated = False
    # Learn a multiplier of the weight that holds the gap at its target.
    terms.conservative.lagrange = maze
    terms.conservative.target_gap = 0.8

    # Maximum-entropy policy loss.
    terms.sac_actor = ConfigDict()
    terms.sac_actor.weight = 1.0
    terms.sac_actor.reduction = "min"

    # Automatic temperature.
    terms.temperature = ConfigDict()
    terms.temperature.weight = 1.0
    terms.temperature.entropy_per_dim = -1.0
    return config
