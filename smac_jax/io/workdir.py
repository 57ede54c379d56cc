"""The working directory of a run: one directory, one run."""

import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from smac_jax.errors import InputError
from smac_jax.io.lock import locked
from smac_jax.version import __version__

_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "gymnasium",
    "gymnasium-robotics",
    "mujoco",
    "minari",
)
CONFIG_FILE = "config.json"
SUMMARY_FILE = "summary.json"
LOCK_FILE = "run.lock"

Complete = Callable[[dict[str, Any]], Mapping[str, Any]]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that the file is either whole or not there; NaN and infinities become null."""
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(json.dumps(_finite(content), indent=2) + "\n")
    os.replace(temporary, path)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file is missing or broken.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path} is missing; give the working directory of a run that was started here") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); start the run again in a new --workdir") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no JSON object; start the run again in a new --workdir")
    return content


def read_run(workdir: Path) -> dict[str, Any]:
    """The record of the run in a working directory, see `claim`.

    Raises:
        InputError: the directory holds none.
    """
    run = read_json(workdir / CONFIG_FILE).get("run")
    if not isinstance(run, dict):
        raise InputError(f"{workdir / CONFIG_FILE} was not written by a run; give the working directory of one")
    return run


def git_commit() -> str | None:
    """Commit of the source tree, marked `-dirty` with local changes; None outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def sources() -> dict[str, Any]:
    """Versions, commit and command line of this process."""
    versions = {"smac-jax": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"versions": versions, "git_commit": git_commit(), "command_line": sys.argv}


def provenance() -> dict[str, Any]:
    """`sources`, and the device of this process."""
    return {**sources(), "device": f"{jax.devices()[0].platform}:{jax.devices()[0].device_kind}"}


def resume_record(record: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """A record with this process in its list `resumed`, if the last one had other versions or another commit.

    Args:
        record: with the `sources` of its beginning.
        now: those of this process.
    """
    resumed = record.get("resumed", [])
    last = [record, *resumed][-1]
    if all(last.get(name) == now[name] for name in ("versions", "git_commit")):
        return dict(record)
    return {**record, "resumed": [*resumed, dict(now)]}


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = sorted(old.keys() | new.keys())
        found = (_differences(old.get(key), new.get(key), f"{name}.{key}" if name else key) for key in names)
        return [line for lines in found for line in lines]
    return [] if old == new else [f"{name}: {old} there, {new} now"]


def _plain(run: Mapping[str, Any]) -> dict[str, Any]:
    """As it is read from a file again."""
    return json.loads(json.dumps(_finite(run)))


def _begun(workdir: Path, run: Mapping[str, Any], complete: Complete) -> bool:
    """Whether a run was begun in a directory; raises `InputError` where that is not for it, see `claim`."""
    if (workdir / CONFIG_FILE).exists():
        there = read_run(workdir)
        if there.get("program") == run.get("program"):
            there = _plain(complete(there))
        differences = _differences(there, run)
        if differences:
            shown = "; ".join(differences[:3]) + (" ..." if len(differences) > 3 else "")
            raise InputError(f"{workdir} holds a different run ({shown}); choose another --workdir")
        return True
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"{workdir} is a file; choose another --workdir")
    taken = [name for name in ("metrics.csv", SUMMARY_FILE, "checkpoints") if (workdir / name).exists()]
    if taken:
        raise InputError(f"{workdir} holds {taken[0]} of an unknown run; choose another --workdir")
    return False


def make_directory(workdir: Path) -> None:
    """Make a directory if it is missing; raises `InputError` where that cannot be."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {workdir} ({error.strerror}); choose another --workdir") from error


def claim(workdir: Path, run: Mapping[str, Any], complete: Complete = dict) -> bool:
    """Make a directory this run's own, or recognise it as this run's.

    A run that goes on with other versions than it last had, or at another commit, gets that added to its record.

    Args:
        workdir: made if missing.
        run: everything that makes the run what it is: program, resolved configuration, dataset, seeds.
        complete: gives a record of the same program what it lacks since an earlier version wrote it.

    Returns:
        Whether the run was begun here before.

    Raises:
        InputError: the directory holds a different run, or files that would be overwritten; nothing is changed.
    """
    run = _plain(run)
    begun, config = _begun(workdir, run, complete), workdir / CONFIG_FILE
    if not begun:
        make_directory(workdir)
        write_json(config, {"run": run, **provenance()})
    elif not (workdir / SUMMARY_FILE).exists():
        record = read_json(config)
        resumed = resume_record(record, provenance())
        if resumed != record:
            write_json(config, resumed)
    return begun


@contextmanager
def hold(workdir: Path, run: Mapping[str, Any], complete: Complete = dict) -> Iterator[bool]:
    """`claim` a directory and keep other processes out of it until the block ends; yields what `claim` returns.

    Raises:
        InputError: as `claim`, or another process is at work in the directory; nothing is changed.
    """
    # Before anything is made in a directory that is another run's.
    _begun(workdir, _plain(run), complete)
    make_directory(workdir)
    refusal = f"another process is at work in {workdir}; wait for it, or choose another --workdir"
    with locked(workdir / LOCK_FILE, refusal):
        yield claim(workdir, run, complete)
