"""Which files of this folder configure a method, and of what kind."""

import importlib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.resolve()
NO_OFFLINE_PHASE = "none"
"""`algorithm` in the configuration of a method that begins online."""


def is_offline(algorithm: object) -> bool:
    """Whether a configuration's `algorithm` is an offline method."""
    return bool(algorithm) and algorithm != NO_OFFLINE_PHASE


def is_from_scratch(algorithm: object) -> bool:
    """Whether a configuration's `algorithm` begins online."""
    return algorithm == NO_OFFLINE_PHASE


def get_config(name: str, task: str) -> Any:
    """The configuration of `configs/NAME.py:TASK`; None where the file configures nothing.

    Raises:
        InputError: unknown task.
    """
    function = getattr(importlib.import_module(f"configs.{name}"), "get_config", None)
    return function(task) if function else None


def algorithm(name: str) -> str:
    """`algorithm` in `configs/NAME.py`; empty where it configures no method."""
    config = get_config(name, "locomotion")
    return str(config.algorithm) if config else ""


def names(from_scratch: bool) -> list[str]:
    """NAMEs of the files that configure an offline method, or else one that begins online."""
    fits = is_from_scratch if from_scratch else is_offline
    return [path.stem for path in sorted(FOLDER.glob("[!_]*.py")) if fits(algorithm(path.stem))]
