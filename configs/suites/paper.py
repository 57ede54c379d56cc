"""The tasks and budgets of the SMAC paper (arXiv 2602.17632) and two families beside them: for a cluster.

Budgets are those of configs/. Add --download for the public datasets. Adroit's are built here from D4RL's human
demonstrations, and HalfCheetah's replay by SAC: the original files are not published in Minari's format.
"""

from ml_collections import ConfigDict

from configs import suites


def _adroit(hand: str) -> ConfigDict:
    recipe = {"recipe": "adroit_binary", "source": f"D4RL/{hand}/human-v2"}
    return suites.task("adroit_binary", f"adroit/{hand}-binary-v0", recipe=recipe)


def get_config() -> ConfigDict:
    """All methods, five seeds, full budgets."""
    suite = suites.empty()
    suite.seeds = (0, 1, 2, 3, 4)
    suite.offline = ("smac", "bc", "td3bc", "iql", "cql", "calql")
    suite.online = ("sac", "td3", "td3bc", "iql", "cql", "calql", "wsrl")
    suite.pairs = (
        *((offline, online) for offline in suites.WITH_CRITIC for online in ("sac", "td3")),
        *suites.OWN_CONTINUATIONS,
        ("smac", "td3bc"),
        ("calql", "wsrl"),
    )
    suite.scratch = ("rlpd",)

    tasks = suite.tasks
    for kind in ("complete", "partial", "mixed"):
        tasks[f"kitchen_{kind}"] = suites.task("kitchen", f"D4RL/kitchen/{kind}-v2")
    for hand in ("pen", "door", "relocate"):
        tasks[hand] = _adroit(hand)
    for maze in ("umaze-diverse", "medium-diverse", "large-diverse"):
        tasks[f"antmaze_{maze.replace('-', '_')}"] = suites.task("antmaze", f"D4RL/antmaze/{maze}-v1")
    # As long as D4RL's medium-replay.
    replay = {"recipe": "replay", "env": "HalfCheetah-v5", "steps": 200_000}
    tasks.halfcheetah_replay = suites.task("locomotion", "mujoco/halfcheetah-replay-200k-v0", recipe=replay)
    return suite
