"""SMAC's defaults on other data than the six tasks', with their schedule; chosen on none but Hopper's and Walker2d's.

Roll-outs are of policies that the baselines have pre-trained there, so `configs/suites/recipe.py` runs first, in
`--workdir=runs/six_tasks`; replay buffers are of SAC from scratch.
"""

from ml_collections import ConfigDict

from configs.suites import recipe


def _rolled(policy: str, episodes: int) -> dict[str, str]:
    """Recipe of sampled roll-outs of a policy that a baseline has pre-trained on one of the six tasks."""
    return {"recipe": "rollout", "checkpoint": f"runs/six_tasks/{policy}/pretrain", "episodes": str(episodes)}


def _replayed(env: str, seed: int) -> dict[str, str]:
    return {"recipe": "replay", "env": env, "steps": "100000", "seed": str(seed)}


def get_config() -> ConfigDict:
    """SMAC, IQL and TD3+BC handed to SAC and TD3, on roll-outs and replay buffers."""
    suite = recipe.get_config()
    suite.offline, suite.online = ("smac", "iql", "td3bc"), ("sac", "td3")
    suite.pairs = tuple((offline, online) for offline in suite.offline for online in suite.online)
    suite.tasks = tasks = ConfigDict(sort_keys=False)
    tasks.pen_rollout = recipe.screen("adroit_binary", "adroit/pen-rollout-v0", (50, 400), _rolled("pen/iql", 300))
    tasks.door_rollout = recipe.screen("adroit_binary", "adroit/door-rollout-v0", (50, 400), _rolled("door/iql", 300))
    policy = _rolled("kitchen_complete/iql", 100)
    tasks.kitchen_rollout = recipe.screen("kitchen", "kitchen/complete-rollout-v0", (20, 20), policy)
    policy = _rolled("antmaze_umaze_diverse/td3bc", 150)
    tasks.antmaze_rollout = recipe.screen("antmaze", "antmaze/umaze-rollout-v0", (50, 400), policy)
    policy = _rolled("halfcheetah_medium_replay/td3bc", 100)
    tasks.halfcheetah_rollout = recipe.screen("locomotion", "mujoco/halfcheetah-rollout-v0", (10, 50), policy)
    for env, seed in (("Hopper", 1), ("Walker2d", 0), ("Ant", 0)):
        name = f"{env.lower()}-replay"
        recorded = _replayed(f"{env}-v5", seed)
        tasks[name.replace("-", "_")] = recipe.screen("locomotion", f"mujoco/{name}-v0", (10, 50), recorded)
    return suite
