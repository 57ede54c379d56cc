"""Command lines in processes that do not import everything anew: most of a short command's time is that."""

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_TIMEOUT = 120
_HEAVY = [
    *("flax", "gymnasium", "jax", "matplotlib.pyplot", "minari", "ml_collections", "optax", "tensorboardX"),
    *("gymnasium_robotics", "orbax.checkpoint", "scipy.stats", "tqdm"),
]
"""What the programs import; none of it may start a thread or a device, as it is forked afterwards."""


class Ended(NamedTuple):
    """Exit code and output of a command."""

    returncode: int | None
    stdout: str
    stderr: str


def _run(module: str, arguments: list[str], folder: str, environment: Mapping[str, str], outputs: list[str]) -> None:
    for descriptor, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, folder)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def run_module(module: str, arguments: list[str], folder: Path, changes: Mapping[str, str] | None = None) -> Ended:
    """`python -m module arguments` in a folder, forked from a process that has imported.

    Its environment is this process's with some `changes`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_HEAVY)
    with tempfile.TemporaryDirectory() as scratch:
        outputs = [Path(scratch) / name for name in ("stdout", "stderr")]
        for path in outputs:
            path.touch()
        environment = {**os.environ, **(changes or {})}
        process = context.Process(
            target=_run, args=(module, arguments, str(folder), environment, [str(path) for path in outputs])
        )
        process.start()
        process.join(_TIMEOUT)
        if process.is_alive():
            process.kill()
            process.join()
        return Ended(process.exitcode, *(path.read_text() for path in outputs))
