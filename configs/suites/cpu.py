"""All methods on six tasks and the quickstart's maze, in the small presets: a day or so on two cores (estimated).

Datasets are looked up under MINARI_DATASETS_PATH; those of pen and door are built from human demonstrations.
"""

from ml_collections import ConfigDict

from configs import suites


def _adroit(hand: str, eval_every: int) -> ConfigDict:
    recipe = {"recipe": "adroit_binary", "source": f"adroit/{hand}-human-v0"}
    finetune = {"eval": {"every": eval_every}}
    return suites.task("adroit_binary-small", f"adroit/{hand}-binary-v0", recipe=recipe, finetune=finetune)


def _kitchen(kind: str) -> ConfigDict:
    # An episode takes 0.7 s, so that evaluations would take most of the time.
    pretrain = {"eval": {"every": 20_000, "episodes": 20}}
    finetune = {"eval": {"every": 2_000, "episodes": 20}}
    return suites.task("kitchen-small", f"kitchen/{kind}-v0", pretrain=pretrain, finetune=finetune)


def get_config() -> ConfigDict:
    """SMAC, clones and the usual baselines, handed to SAC, to TD3 and to their own continuations."""
    suite = suites.empty()
    suite.seeds = (0, 1, 2)
    suite.offline = ("smac", "bc", "td3bc", "iql", "cql", "calql")
    suite.online = ("sac", "td3", "td3bc", "iql", "cql", "calql", "wsrl")
    suite.pairs = (
        *((offline, online) for offline in suites.WITH_CRITIC for online in ("sac", "td3")),
        *suites.OWN_CONTINUATIONS,
        ("calql", "wsrl"),
    )
    suite.scratch = ("rlpd",)
    suite.pretrain = ConfigDict({"offline": {"steps": 20_000}, "eval": {"every": 10_000}})
    suite.finetune = ConfigDict({"eval": {"every": 1_000}})

    tasks = suite.tasks
    tasks.umaze = suites.task(
        "pointmaze-small",
        "pointmaze/umaze-v0",
        recipe={"recipe": "pointmaze"},
        pretrain={"offline": {"steps": 10_000}},
        finetune={"eval": {"every": 200}},
    )
    tasks.kitchen_complete = _kitchen("complete")
    tasks.kitchen_mixed = _kitchen("mixed")
    tasks.pen = _adroit("pen", eval_every=500)
    tasks.door = _adroit("door", eval_every=1_000)
    tasks.antmaze_umaze_diverse = suites.task("antmaze-small", "antmaze/umaze-diverse-v0")
    tasks.halfcheetah_medium_replay = suites.task(
        "locomotion-small",
        "mujoco/halfcheetah-medium-replay-v0",
        pretrain={"offline": {"steps": 50_000}},
        finetune={"eval": {"every": 500}},
    )
    return suite
