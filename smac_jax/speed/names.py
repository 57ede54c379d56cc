"""Rows in words, for tables and pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

ONLINE = "online-"
"""Begins the name of a method that learns in an environment, whose steps are part of what is measured."""
PROGRAM = "program-"
"""Begins the name of a method whose updates are made by `launch.pretrain`, records and evaluations included."""
ENVIRONMENT = "environment"
"""Method of the row that steps the environment alone."""
PENALTY = "penalty: "
"""Begins the name of a way to the gradient of SMAC's penalty, see `smac_jax.speed.penalty_forms`."""
_METHODS = {
    "smac": "SMAC",
    "sac": "SAC",
    "td3": "TD3",
    "td3bc": "TD3+BC",
    "iql": "IQL",
    "cql": "CQL",
    "calql": "Cal-QL",
    "online-sac": "SAC online",
    "online-td3": "TD3 online",
    "program-smac": "SMAC, by launch.pretrain",
    ENVIRONMENT: "environment alone",
}


def method_name(method: str) -> str:
    """A method as papers write it."""
    return _METHODS.get(method, method)


def overrides_text(row: Mapping[str, Any]) -> str:
    """What differs from a row's configuration, empty where nothing does."""
    return ", ".join(f"`{name}={value}`" for name, value in row["overrides"].items())


def widths_text(widths: Sequence[int]) -> str:
    """Hidden layers in words, such as 2 x 256."""
    return f"{len(widths)} x {widths[0]}" if len(set(widths)) == 1 else ", ".join(map(str, widths))


def count_text(number: int, unit: str) -> str:
    """A number of things."""
    return f"{number} {unit}{'' if number == 1 else 's'}"
