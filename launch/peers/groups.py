"""Which rows of other libraries are measured, and with which of ours they take turns."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch.peers.environment import ensure_environment
from smac_jax.speed.workers import Group, Worker

SIZES = (((256, 256), 256), ((64, 64), 64))
"""Widths of the hidden layers, and batch."""
OFFLINE = ("td3bc", "sac", "iql", "calql")
"""Methods of d3rlpy on a dataset."""
ONLINE = ("online-sac", "online-td3")
"""Methods of stable-baselines3 and sbx in an environment, whose steps count as well."""
ALIKE = {"network.critic_layer_norm": False}
"""How our configuration differs from its default where it is compared: the other libraries' critics are plain."""

_MODULES = {
    "d3rlpy": "launch.peers.d3rlpy_worker",
    "sb3": "launch.peers.sb3_worker",
    "sbx": "launch.peers.sbx_worker",
    None: "launch.peers.online_worker",
}
_ROOT = Path(__file__).resolve().parents[2]


def _row(method: str, size: tuple[tuple[int, ...], int], peer: str | None, overrides: Mapping[str, Any]) -> dict:
    return {
        "method": method,
        "optimizer": "adam",
        "hidden_dims": size[0],
        "batch_size": size[1],
        "critics": 2,
        "seeds": 1,
        "threads": 1,
        "peer": peer,
        "overrides": dict(overrides),
    }


def _worker(row: dict[str, Any], interpreter: str | Path) -> Worker:
    # Their environment does not hold this project, whose workers they run.
    env = {"PYTHONPATH": str(_ROOT)} if row["peer"] else {}
    return Worker([str(interpreter), "-m", _MODULES[row["peer"]], json.dumps(row)], env, row)


def make_groups(interpreter: Path) -> list[Group]:
    """Groups of workers by method and size.

    On a dataset they hold other libraries' rows alone, whose `overrides` say how our own configuration has to differ
    from its default to be comparable. In an environment they hold our row too, which `launch.speed` cannot make.

    Args:
        interpreter: of the other libraries' environment.
    """
    groups = []
    for size in SIZES:
        name = f"{'x'.join(map(str, size[0]))}-batch{size[1]}"
        for method in OFFLINE:
            groups.append(Group(f"{method}-{name}", [_worker(_row(method, size, "d3rlpy", ALIKE), interpreter)]))
        for method in ONLINE:
            ours = _worker(_row(method, size, None, {}), sys.executable)
            theirs = [_worker(_row(method, size, peer, {}), interpreter) for peer in ("sb3", "sbx")]
            groups.append(Group(f"{method}-{name}", [ours, *theirs]))
    return groups


def peer_groups(workdir: Path) -> list[Group]:
    """Groups of other libraries' workers, whose environment is made in the working directory where it is missing.

    Raises:
        InputError: the environment cannot be made.
    """
    return make_groups(ensure_environment(workdir))
