"""Suites for `launch.benchmark`: `configs/suites/NAME.py` says which tasks, methods and seeds are compared."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from configs.suites._fields import check_methods
from smac_jax.errors import InputError

# Offline methods that train a critic, without which SAC and TD3 would start from nothing; bc trains none.
WITH_CRITIC = ("smac", "td3bc", "iql", "cql", "calql")
OWN_CONTINUATIONS = (("td3bc", "td3bc"), ("iql", "iql"), ("cql", "cql"), ("calql", "calql"))


def empty() -> ConfigDict:
    """The fields of a suite; the command line sets them by `--suite.seeds=(0,)` and the like."""
    suite = ConfigDict()
    # Seeds of every run; one process trains all of them together.
    suite.seeds = (0,)
    # Offline methods: configs/NAME.py. Each is pre-trained once a task.
    suite.offline = ()
    # Online methods: --algorithm of launch.finetune.
    suite.online = ()
    # Which goes on to which: (offline, online). Pairs with a method that is not listed above are left out.
    suite.pairs = ()
    # Online methods that begin without an offline phase: configs/NAME.py.
    suite.scratch = ()
    # Configuration of all pre-trainings and all fine-tunings, where it departs from configs/: offline.steps and such.
    suite.pretrain = ConfigDict()
    suite.finetune = ConfigDict()
    # By name, which is the name of a folder as well: see `task`.
    suite.tasks = ConfigDict(sort_keys=False)
    # Names of the tasks to run; all if empty.
    suite.only = ()
    return suite


def task(
    config: str,
    dataset: str,
    recipe: Mapping[str, Any] | None = None,
    pretrain: Mapping[str, Any] | None = None,
    finetune: Mapping[str, Any] | None = None,
) -> ConfigDict:
    """One task of a suite.

    Args:
        config: TASK, as in `configs/ALGO.py:TASK`.
        dataset: Minari id.
        recipe: flags of `launch.make_dataset` that build the dataset where it is not local; by default it must be, or
            be downloaded.
        pretrain: configuration of this task's pre-trainings; goes before the suite's.
        finetune: the same for its fine-tunings.
    """
    fields = {"recipe": recipe, "pretrain": pretrain, "finetune": finetune}
    return ConfigDict(
        {"config": config, "dataset": dataset, **{name: dict(value or {}) for name, value in fields.items()}}
    )


def check(suite: ConfigDict) -> None:
    """Check what would otherwise fail in no run, or in all of them.

    Raises:
        InputError: a field is missing or unknown, a method is unknown or never used, or a task could not be told from
            another.
    """
    missing = set(empty()) - set(suite)
    if missing:
        raise InputError(f"the suite has no field {min(missing)}; begin it with configs.suites.empty()")
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in suite.pairs):
        raise InputError(f"pairs={suite.pairs} of the suite must look like (('smac', 'sac'), ('iql', 'iql'))")
    unpaired = sorted(set(suite.online) - {online for _, online in suite.pairs})
    if unpaired:
        raise InputError(
            f"online method {unpaired[0]!r} is in none of the suite's pairs; add (OFFLINE, {unpaired[0]!r})"
        )
    unknown = [name for name in suite.only if name not in suite.tasks]
    if unknown:
        raise InputError(f"the suite has no task {unknown[0]!r}; use some of {', '.join(suite.tasks)}")
    owners: dict[tuple[str, str], str] = {}
    for name, fields in suite.tasks.items():
        if not re.fullmatch(r"[\w-]+", name) or name == "datasets":
            raise InputError(f"task {name!r} of the suite cannot name a folder; use letters, digits, _ and -")
        if not isinstance(fields, ConfigDict) or set(task("", "")) - set(fields):
            raise InputError(
                f"task {name!r} of the suite lacks fields; make it by configs.suites.task(CONFIG, DATASET)"
            )
        what = (fields.config.partition("-")[0], fields.dataset)
        if what in owners:
            # Their rows would be the same but for the scores.
            raise InputError(f"tasks {owners[what]!r} and {name!r} are both {' on '.join(what)}; give each a suite")
        owners[what] = name
    check_methods(suite)


def check_files(paths: Iterable[str]) -> None:
    """Check that suite files exist.

    Raises:
        InputError: names one that does not.
    """
    for path in paths:
        if not Path(path).is_file():
            known = ", ".join(sorted(f"configs/suites/{file.name}" for file in Path("configs/suites").glob("[!_]*.py")))
            raise InputError(f"no suite file {path}; run from the project's root, where there are {known}")
