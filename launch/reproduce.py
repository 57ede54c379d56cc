"""The command that makes a finished run from today's defaults, whatever the defaults were when it was made."""

import dataclasses
import importlib
import shlex
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from configs import finetune as online_methods
from launch.session import make_terms
from launch.stored import stored_config
from smac_jax.errors import InputError
from smac_jax.io.workdir import CONFIG_FILE, read_run

# Where the commands put runs.
_ROOT = "runs"


def _fields(config: ConfigDict) -> dict[str, Any]:
    """All fields of a configuration by dotted name; a term that is off has a weight of 0 alone."""
    terms = dataclasses.asdict(make_terms(config))
    off = {"weight": 0.0}
    completed = {name: off if value is None else value for name, value in terms.items()}
    return flatten_dict({**config.to_dict(), "terms": completed}, sep=".")


def overrides(config: ConfigDict, defaults: ConfigDict) -> list[str]:
    """Flags `--config.a.b=value` that turn `defaults` into `config`."""
    before, after = _fields(defaults), _fields(config)
    return [f"--config.{name}={value}" for name, value in after.items() if before.get(name) != value]


def command(workdir: Path, directory: Path) -> str:
    """The command line of a pre-training or fine-tuning in `directory`, with runs in `runs`."""
    run = read_run(workdir)
    config = stored_config(run)
    place = f"--workdir={_ROOT}/{workdir.relative_to(directory).as_posix()}"
    if run["program"] == "pretrain":
        defaults = importlib.import_module(f"configs.{config.algorithm}").get_config(config.preset)
        flags = [
            f"--config=configs/{config.algorithm}.py:{config.preset}",
            f"--dataset={run['dataset']}",
            f"--seeds={','.join(map(str, run['seeds']))}",
        ]
    else:
        source = checkpoint(workdir, directory)
        defaults = online_methods.from_checkpoint(stored_config(read_run(source)), config.online_algorithm)
        flags = [
            f"--checkpoint={_ROOT}/{source.relative_to(directory).as_posix()}",
            f"--algorithm={config.online_algorithm}",
        ]
    return shlex.join(["python", "-m", f"launch.{run['program']}", *flags, place, *overrides(config, defaults)])


def checkpoint(workdir: Path, directory: Path) -> Path:
    """The pre-training in `directory` that a fine-tuning went on from: of NAME-sac and NAME-more-sac, it is NAME.

    A run records no place, as directories may move, so that the names have to tell.

    Raises:
        InputError: there is none of such a name.
    """
    parts = workdir.relative_to(directory).as_posix().split("-")
    for count in range(len(parts) - 1, 0, -1):
        found = directory / "-".join(parts[:count])
        if (found / CONFIG_FILE).exists():
            return found
    raise InputError(f"{workdir} began from no run beside it; name the pre-training NAME and the fine-tuning NAME-sac")
