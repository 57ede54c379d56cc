"""Command lines in processes that do not import everything anew: most of a short command's time is that."""

import multiprocessing
import os
import runpy
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_TIMEOUT = 120
_HEAVY = [
    *("flax", "gymnasium", "jax", "matplotlib.pyplot", "minari", "ml_collections", "optax", "tensorboardX"),
    *("gymnasium_robotics", "orbax.checkpoint", "scipy.stats", "tqdm"),
]
"""What the programs import; none of it may start a thread or a device, as it is forked afterwards."""


_OUTPUTS, _CODE = ("stdout", "stderr"), "code"
_LOST = 255
"""Exit code by multiprocessing of a child whose fork server is gone, whether or not the child is still there."""


class Ended(NamedTuple):
    """Exit code and output of a command."""

    returncode: int | None
    stdout: str
    stderr: str


def _run(module: str, arguments: list[str], folder: str, environment: Mapping[str, str], scratch: str) -> None:
    for descriptor, name in enumerate(_OUTPUTS, start=1):
        os.dup2(os.open(Path(scratch) / name, os.O_WRONLY), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, folder)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if isinstance(error.code, int):
            (Path(scratch) / _CODE).write_text(str(error.code))
        raise


def _told(code: Path) -> int:
    """What the child itself says of its exit code, once it has ended."""
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline and not (code.exists() and code.read_text()):
        time.sleep(0.05)
    return int(code.read_text()) if code.exists() else _LOST


def run_module(module: str, arguments: list[str], folder: Path, changes: Mapping[str, str] | None = None) -> Ended:
    """`python -m module arguments` in a folder, forked from a process that has imported.

    Its environment is this process's with some `changes`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_HEAVY)
    with tempfile.TemporaryDirectory() as scratch:
        outputs = [Path(scratch) / name for name in _OUTPUTS]
        for path in outputs:
            path.touch()
        environment = {**os.environ, **(changes or {})}
        process = context.Process(target=_run, args=(module, arguments, str(folder), environment, scratch))
        process.start()
        process.join(_TIMEOUT)
        if process.is_alive():
            process.kill()
            process.join()
        returncode = process.exitcode
        if returncode == _LOST:
            returncode = _told(Path(scratch) / _CODE)
        return Ended(returncode, *(path.read_text() for path in outputs))
