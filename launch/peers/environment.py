"""The virtual environment that holds the libraries we compare with.

Their requirements exclude ours (d3rlpy wants one release of gymnasium), so they get an environment of their own, in
which nothing of this project is installed. pip's own settings apply. On Linux, PyPI's PyTorch brings CUDA libraries of
several GB; where `PIP_EXTRA_INDEX_URL` names an index of builds for CPUs, pip takes the one there.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from smac_jax.errors import InputError

PACKAGES = (
    "d3rlpy==2.8.1",
    "stable-baselines3==2.9.2",
    "sbx-rl==0.28.0",
    "gymnasium[mujoco]==1.0.0",
    # What computes: left free, a later release would change the rates, or not work with the libraries above.
    "torch==2.13.0",
    "jax==0.10.2",
    "jaxlib==0.10.2",
    "flax==0.12.8",
    "optax==0.2.8",
    "numpy==2.4.6",
    # The simulator of our own environments.
    "mujoco==3.3.7",
)
"""What is installed; one environment suits all libraries."""

_MARKER = "installed.txt"


def make_environment(folder: Path) -> None:
    """Make a virtual environment with `PACKAGES`.

    Raises:
        InputError: Python cannot make one, or pip cannot install them.
    """
    interpreter = interpreter_of(folder)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        # Isolated: a PYTHONPATH of ours would let pip find our packages there.
        [str(interpreter), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
    ):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            said = [line for line in (result.stderr + result.stdout).splitlines() if line.strip()]
            reasons = [line for line in said if line.startswith("ERROR:")] or said[-1:] or ["it says nothing"]
            raise InputError(
                f"cannot install the libraries to compare with into {folder}: {reasons[-1].removeprefix('ERROR: ')}; "
                "see to network, disk and pip's settings and give the command again, or leave out --peers"
            )


def interpreter_of(folder: Path) -> Path:
    """The Python of a virtual environment, not followed to the one that it links to."""
    return folder.absolute() / "bin" / "python"


def ensure_environment(workdir: Path, make: Callable[[Path], None] = make_environment) -> Path:
    """The interpreter of the libraries' environment in a working directory, made where it is missing or half-made.

    Args:
        workdir: the environment is its folder `peers/environment`.
        make: makes the environment in a folder that does not exist.

    Raises:
        InputError: it cannot be made.
    """
    folder = workdir / "peers" / "environment"
    marker = folder / _MARKER
    wanted = "\n".join(PACKAGES) + "\n"
    if not marker.exists() or marker.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        print(f"installing d3rlpy, stable-baselines3 and sbx into {folder}, once", file=sys.stderr)
        make(folder)
        # Last, and from then on the environment counts as complete.
        marker.write_text(wanted)
    return interpreter_of(folder)
