"""Does everything fit together? A maze built here, tiny budgets: minutes on two cores, scores that mean nothing."""

from ml_collections import ConfigDict

from configs import suites


def get_config() -> ConfigDict:
    """SMAC and TD3+BC, handed to SAC and TD3."""
    suite = suites.empty()
    suite.seeds = (0, 1)
    suite.offline = ("smac", "td3bc")
    suite.online = ("sac", "td3")
    suite.pairs = tuple((offline, online) for offline in suite.offline for online in suite.online)
    suite.pretrain = ConfigDict({"offline": {"steps": 2_000}, "eval": {"every": 1_000}})
    suite.finetune = ConfigDict({"online": {"steps": 1_000, "warmup_steps": 200}, "eval": {"every": 200}})
    suite.tasks.umaze = suites.task("pointmaze-small", "pointmaze/umaze-v0", recipe={"recipe": "pointmaze"})
    return suite
