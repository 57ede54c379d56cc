"""The configuration file that a program takes: that of a method which it can run."""

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from configs import _methods
from launch import program
from smac_jax.errors import InputError


def _fits(algorithm: object, online: str | None) -> bool:
    return _methods.is_from_scratch(algorithm) if online else _methods.is_offline(algorithm)


def _usable(online: str | None) -> str:
    return ", ".join(f"configs/{name}.py" for name in _methods.names(from_scratch=online is not None))


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
        algorithm = _methods.algorithm(file.stem) if file.parent == _methods.FOLDER else None
        if file.is_relative_to(_methods.FOLDER) and not _fits(algorithm, online):
            raise _misfit(path, online)
    rest = program.parse(argv)
    config = flags.FLAGS["config"].value
    if paths and not _fits(config.get("algorithm") if isinstance(config, ConfigDict) else None, online):
        raise _misfit(paths[-1], online)
    return rest
