"""The configuration file that a program takes: that of a method which it can run."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

import configs
from launch import program
from smac_jax.errors import InputError

_FOLDER = Path(configs.__file__).parent.resolve()
NO_OFFLINE_PHASE = "none"
"""`algorithm` in the configuration of a method that begins online."""


def _fits(algorithm: object, online: str | None) -> bool:
    """Whether a configuration's `algorithm` is an offline method, or one that begins online where such is asked for."""
    return algorithm == NO_OFFLINE_PHASE if online else bool(algorithm) and algorithm != NO_OFFLINE_PHASE


def _algorithm(path: Path) -> str:
    """`algorithm` of a file in configs/; empty where it configures no method."""
    get_config = getattr(importlib.import_module(f"configs.{path.stem}"), "get_config", None)
    return str(get_config("locomotion").algorithm) if get_config else ""


def _usable(online: str | None) -> str:
    paths = sorted(_FOLDER.glob("[!_]*.py"))
    return ", ".join(f"configs/{path.name}" for path in paths if _fits(_algorithm(path), online))


def _misfit(path: str, online: str | None) -> InputError:
    lack = f"does not configure {online}" if online else "configures no offline method"
    return InputError(f"{path} {lack}; use one of {_usable(online)}, followed by :TASK")


def parse(argv: Sequence[str], online: str | None = None) -> list[str]:
    """Parse all flags, of which --config names a configuration file.

    Args:
        argv: the command line.
        online: method without an offline phase whose configuration is needed; that of an offline method if None.

    Raises:
        InputError: there is no such file, or it configures something else.
    """
    paths = [value.partition(":")[0] for value in program.flag_values(argv, "config")]
    for path in paths:
        if not Path(path).is_file():
            raise InputError(
                f"no configuration file {path!r}; run from the project's root, where there are {_usable(online)}"
            )
        # Before it is loaded, which would fail in other ways.
        file = Path(path).resolve()
        if file.is_relative_to(_FOLDER) and not (file.parent == _FOLDER and _fits(_algorithm(file), online)):
            raise _misfit(path, online)
    rest = program.parse(argv)
    config = flags.FLAGS["config"].value
    if paths and not _fits(config.get("algorithm") if isinstance(config, ConfigDict) else None, online):
        raise _misfit(paths[-1], online)
    return rest
