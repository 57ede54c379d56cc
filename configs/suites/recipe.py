"""SMAC's defaults on the six given tasks: minutes a cell on one core, as docs/recipe.md uses them.

Small presets, 20k offline updates and 3,500 online steps. The paper's form, IQL and TD3+BC stand beside the defaults.
"""

from ml_collections import ConfigDict

from configs import suites


def screen(config: str, dataset: str, episodes: tuple[int, int], recipe: dict[str, str] | None = None) -> ConfigDict:
    """A task; `episodes` an evaluation in pre-training, and in fine-tuning, where a drop is to be told from noise."""
    pretrain, finetune = {"eval": {"episodes": episodes[0]}}, {"eval": {"episodes": episodes[1]}}
    return suites.task(f"{config}-small", dataset, recipe=recipe, pretrain=pretrain, finetune=finetune)


def _adroit(hand: str, episodes: int) -> ConfigDict:
    recipe = {"recipe": "adroit_binary", "source": f"adroit/{hand}-human-v0"}
    return screen("adroit_binary", f"adroit/{hand}-binary-v0", (50, episodes), recipe)


def get_config() -> ConfigDict:
    """SMAC's defaults, its paper's form and two baselines, handed to SAC and TD3, and but for the paper's to TD3+BC.

    IQL goes on as itself, too. BC, CQL and Cal-QL are pre-trained only, for the comparison of offline scores.
    """
    suite = suites.empty()
    suite.seeds = (0, 1, 2)
    continued = ("smac", "iql", "td3bc", "smac_paper")
    suite.offline = (*continued, "bc", "cql", "calql")
    suite.online = ("sac", "td3", "td3bc", "iql")
    plain = tuple((offline, online) for offline in continued for online in ("sac", "td3"))
    suite.pairs = (*plain, ("smac", "td3bc"), ("iql", "td3bc"), ("td3bc", "td3bc"), ("iql", "iql"))
    suite.pretrain = ConfigDict({"offline": {"steps": 20_000}, "eval": {"every": 10_000}})
    schedule = {"early_every": 250, "early_steps": 2_000, "every": 500}
    suite.finetune = ConfigDict({"online": {"steps": 3_500, "warmup_steps": 500}, "eval": schedule})

    tasks = suite.tasks
    # What is lost on pen and door is near the noise of 200 episodes.
    tasks.pen = _adroit("pen", 400)
    tasks.door = _adroit("door", 400)
    # An episode takes 0.7 s in the kitchen.
    tasks.kitchen_complete = screen("kitchen", "kitchen/complete-v0", (20, 20))
    tasks.kitchen_mixed = screen("kitchen", "kitchen/mixed-v0", (20, 20))
    tasks.antmaze_umaze_diverse = screen("antmaze", "antmaze/umaze-diverse-v0", (50, 200))
    tasks.halfcheetah_medium_replay = screen("locomotion", "mujoco/halfcheetah-medium-replay-v0", (10, 50))
    return suite
