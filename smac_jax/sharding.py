"""The seed axis spread over several devices.

Seeds share nothing but the step counter and the dataset. Every device therefore runs the same program for its own seeds
alone, without communication.
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from smac_jax.cores import ONE_THREAD, usable_cores

SEED_AXIS = "seed"

Tree = TypeVar("Tree")


def devices_for(seeds: int, cores: int) -> int:
    """How many devices a CPU is divided into: the fewest that keep all cores busy and divide the number of seeds.

    They may be more than the cores, among which the system then divides them: three seeds on two cores take the time
    of one and a half, where a core of its own for one seed would make them wait for the other two.
    """
    return min(count for count in range(1, seeds + 1) if seeds % count == 0 and count >= min(cores, seeds))


def spread_seeds(seeds: int) -> None:
    """Divide a CPU of several cores into devices of one thread, for `seed_mesh` to spread several seeds over.

    Side by side they use the cores better than one after the other with all threads in each product of matrices. To be
    called before JAX computes anything. Nothing is divided where XLA is told of devices or held to one thread already.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    devices_told = jax.config.jax_num_cpu_devices > 0  # type: ignore[attr-defined]
    told = devices_told or "device_count" in flags or ONE_THREAD[0] in flags
    devices = devices_for(seeds, len(usable_cores()))
    if devices > 1 and not told:
        jax.config.update("jax_num_cpu_devices", devices)
        os.environ["XLA_FLAGS"] = " ".join([flags, *ONE_THREAD]).strip()


def seed_mesh(seeds: int, devices: Sequence[jax.Device] | None = None) -> Mesh | None:
    """Mesh of the largest number of devices that divides the number of seeds; a warning names those left idle.

    Args:
        seeds: S.
        devices: to choose from; the local ones if not given.

    Returns:
        Mesh with the single axis `SEED_AXIS`, or None where one device takes all seeds and nothing is moved.
    """
    devices = jax.local_devices() if devices is None else devices
    used = max(count for count in range(1, min(seeds, len(devices)) + 1) if seeds % count == 0)
    if used < len(devices):
        logging.warning(
            "%d of %d devices are used for %d seed(s), the most that divide them evenly; give a multiple of %d seeds "
            "to use all",
            used,
            len(devices),
            seeds,
            len(devices),
        )
    return Mesh(np.asarray(devices[:used]), (SEED_AXIS,)) if used > 1 else None


def _by_seed(tree: Any) -> Any:
    """Layout of a pytree whose arrays have a leading seed axis and whose scalars all seeds share."""
    return jax.tree.map(lambda leaf: PartitionSpec(SEED_AXIS) if np.ndim(leaf) else PartitionSpec(), tree)


def shard_seeds(tree: Tree, mesh: Mesh | None) -> Tree:
    """Lay out by seed.

    Args:
        tree: pytree whose arrays (S, ...) have a leading seed axis and whose scalars all seeds share: an `AgentState`
            of S seeds, a `Replay`, keys.
        mesh: from `seed_mesh`.

    Returns:
        The tree with S / D seeds on each of D devices, scalars on all; the tree itself without a mesh.
    """
    if mesh is None:
        return tree
    return jax.device_put(tree, jax.tree.map(lambda spec: NamedSharding(mesh, spec), _by_seed(tree)))


def replicate(tree: Tree, mesh: Mesh | None) -> Tree:
    """The tree with a copy of every array on each device, such as the dataset; the tree itself without a mesh."""
    return tree if mesh is None else jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def on_each_device(function: Callable[..., Any], mesh: Mesh | None) -> Callable[..., Any]:
    """`function` of seeds, run by every device for its own; the function itself without a mesh.

    Args:
        function: of a state of seeds, further pytrees laid out by `shard_seeds`, and last what all seeds share; returns
            the next state and info, whose leaves have a leading seed axis.
        mesh: from `seed_mesh`.
    """
    if mesh is None:
        return function

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        *by_seed, shared = arguments
        layouts = [_by_seed(argument) for argument in by_seed]
        return jax.shard_map(
            function,
            mesh=mesh,
            in_specs=(*layouts, PartitionSpec()),
            out_specs=(layouts[0], PartitionSpec(SEED_AXIS)),
            # The shared step counter comes out of every device alike, which is not to be proved.
            check_vma=False,
        )(*by_seed, shared)

    return call
