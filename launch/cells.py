"""The cells of a suite: one program each, what it waits for, and how it runs in a process of its own.

Files alone say what is done, so that a benchmark goes on from whatever a killed one left behind.
"""

import ctypes
import fcntl
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from minari.storage import get_dataset_path
from ml_collections import ConfigDict

from configs import suites
from launch.program import config_fields, parse_seeds
from smac_jax.errors import InputError
from smac_jax.io.workdir import CONFIG_FILE, SUMMARY_FILE, read_json

# Programs look for configs/ here.
ROOT = Path(__file__).resolve().parents[1]
DONE, FAILED, SKIPPED = "done", "failed: ", "skipped: "

# In a run's name, for the method there is none of.
_SCRATCH, _PRETRAIN = "scratch", "pretrain"

# Begins the output of each attempt in a log.
_ATTEMPT = "\n$ python "
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Cell(NamedTuple):
    """One program of a benchmark.

    Attributes:
        name: path below the benchmark's directory.
        workdir: the run's directory; the log lies beside it.
        task: family of tasks.
        dataset: Minari id.
        offline: offline method, empty without an offline phase.
        online: online method, empty for a pre-training.
        seeds: trained together; none where the cell makes a dataset.
        arguments: the program and what it runs, which must not change once it has begun.
        places: flags that say where.
        needs: names of the cells that come first.
    """

    name: str
    workdir: Path
    task: str
    dataset: str
    offline: str
    online: str
    seeds: tuple[int, ...]
    arguments: tuple[str, ...]
    places: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        """Arguments of the Python interpreter."""
        return ["-m", f"launch.{self.arguments[0]}", *self.arguments[1:], *self.places]

    @property
    def log(self) -> Path:
        """File of everything the program prints."""
        return self.workdir.with_name(f"{self.workdir.name}.log")

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        if self.seeds:
            return (self.workdir / SUMMARY_FILE).exists()
        return (get_dataset_path(self.dataset) / "data" / "metadata.json").exists()


def _dataset_cell(workdir: Path, dataset: str, recipe: Mapping[str, Any], download: tuple[str, ...]) -> Cell:
    """The cell that makes a dataset, downloads it, or else says that it is missing."""
    flags = [f"--{name}={value}" for name, value in recipe.items()]
    what = [*flags, f"--output={dataset}"] if recipe else [f"--describe={dataset}"]
    name = f"datasets/{dataset}"
    return Cell(name, workdir / name, "", dataset, "", "", (), ("make_dataset", *what), download, ())


def _overrides(suite: ConfigDict, task: ConfigDict, phase: str) -> list[str]:
    """Flags of a phase's configuration; the task's fields go before the suite's."""
    config = ConfigDict(suite[phase].to_dict())
    config.update(task[phase])
    return config_fields(config)


def _task_cells(suite: ConfigDict, name: str, workdir: Path, download: tuple[str, ...]) -> list[Cell]:
    task = suite.tasks[name]
    dataset = _dataset_cell(workdir, task.dataset, task.recipe, download)
    family = task.config.partition("-")[0]
    seeds = tuple(parse_seeds([str(seed) for seed in suite.seeds]))
    seeds_flag = f"--seeds={','.join(map(str, seeds))}"

    def cell(offline: str, online: str, arguments: Sequence[str], places: Iterable[str], needs: Iterable[str]) -> Cell:
        path = f"{name}/{offline or _SCRATCH}/{online or _PRETRAIN}"
        where = (f"--workdir={workdir / path}", *places, *download)
        labels = (family, task.dataset, offline, online)
        return Cell(path, workdir / path, *labels, seeds, tuple(arguments), where, (dataset.name, *needs))

    def begin(program: str, method: str, phase: str) -> list[str]:
        config = f"--config=configs/{method}.py:{task.config}"
        return [program, config, f"--dataset={task.dataset}", seeds_flag, *_overrides(suite, task, phase)]

    cells = [dataset]
    for offline in suite.offline:
        pretrain = cell(offline, "", begin("pretrain", offline, "pretrain"), (), ())
        cells.append(pretrain)
        for online in (pair[1] for pair in suite.pairs if pair[0] == offline and pair[1] in suite.online):
            arguments = ["finetune", f"--algorithm={online}", *_overrides(suite, task, "finetune")]
            cells.append(cell(offline, online, arguments, [f"--checkpoint={pretrain.workdir}"], [pretrain.name]))
    for online in suite.scratch:
        program, *flags = begin("finetune", online, "finetune")
        cells.append(cell("", online, [program, f"--algorithm={online}", *flags], (), ()))
    return cells


def split_name(name: str) -> tuple[str, str, str]:
    """A run's task, offline and online method, empty where there is none, from its name."""
    task, offline, online = name.split("/")
    return task, offline.removeprefix(_SCRATCH), online.removeprefix(_PRETRAIN)


def make_cells(suite: ConfigDict, workdir: Path, download: bool = False) -> list[Cell]:
    """All cells, each after those it needs: for each task its dataset, and each pre-training before what follows it.

    Args:
        suite: fields as in `configs.suites.empty`.
        workdir: the benchmark's directory.
        download: fetch datasets that are not local.

    Raises:
        InputError: see `configs.suites.check` and `parse_seeds`; or nothing is listed.
    """
    suites.check(suite)
    flags = ("--download",) if download else ()
    # Two tasks may share a dataset.
    cells = {cell.name: cell for name in suite.only or suite.tasks for cell in _task_cells(suite, name, workdir, flags)}
    if not any(cell.seeds for cell in cells.values()):
        raise InputError("the suite lists no run; it needs tasks, and offline or scratch methods")
    return list(cells.values())


def recorded_runs(record: Path, cells: Sequence[Cell]) -> dict[str, list[str]]:
    """Arguments of all runs by name: those in an earlier record of the suite that have begun, and the present ones.

    Raises:
        InputError: a run was begun with other arguments, or the record is something else.
    """
    old = read_json(record).get("runs") if record.exists() else {}
    if not isinstance(old, dict) or not all(isinstance(arguments, list) for arguments in old.values()):
        raise InputError(f"{record} was not written by a benchmark; choose another --workdir")
    runs: dict[str, list[str]] = {name: old[name] for name in old if (record.parent / name / CONFIG_FILE).exists()}
    for cell in (cell for cell in cells if cell.seeds):
        there, now = runs.get(cell.name), list(cell.arguments)
        if there is not None and there != now:
            gone, come = (" ".join(sorted(set(a) - set(b))) or "none" for a, b in ((there, now), (now, there)))
            raise InputError(f"{cell.workdir} was begun with {gone}, not {come}; choose another --workdir")
        runs[cell.name] = now
    return runs


def blocked(cell: Cell, statuses: Mapping[str, str]) -> str | None:
    """Why a cell cannot run, given the statuses of others; None if it can."""
    for need in cell.needs:
        status = statuses.get(need, DONE)
        if status != DONE:
            return status if status.startswith(SKIPPED) else f"{SKIPPED}{need} failed"
    return None


def _tether(parent: int, core: int | None) -> None:
    """In the child: die with the parent, however it dies, and stay on one core."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        if core is not None:
            os.sched_setaffinity(0, {core})


def start(cell: Cell, core: int | None = None) -> subprocess.Popen[bytes] | str:
    """Start a cell's program.

    The child holds a lock on its log as long as it lives: an orphan of a killed benchmark is waited for, not joined.

    Args:
        cell: what to run.
        core: the only one to use, where the system can restrict that.

    Returns:
        The process, or a status where there is none to start.
    """
    cell.log.parent.mkdir(parents=True, exist_ok=True)
    parent = os.getpid()
    with cell.log.open("ab") as log:
        # Some network file systems have no locks.
        with suppress(OSError):
            fcntl.flock(log, fcntl.LOCK_EX)
        if cell.done:
            return DONE
        log.write(f"{_ATTEMPT}{shlex.join(cell.command)}\n".encode())
        log.flush()
        return subprocess.Popen(
            [sys.executable, *cell.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            preexec_fn=lambda: _tether(parent, core),
        )


def _last_error(log: Path) -> str:
    """The line of the last attempt in a log that says best what went wrong."""
    attempt = log.read_bytes()[-50_000:].decode(errors="replace").rpartition(_ATTEMPT)[2]
    lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", attempt)[1:] if line.strip()]
    errors = [line for line in lines if re.match(r"error: |[\w.]*(Error|Exception|Interrupt)\b", line)]
    return (errors or lines or ["it printed nothing"])[-1].removeprefix("error: ")[:300]


def status_of(cell: Cell, returncode: int) -> str:
    """Status of a cell whose program has ended."""
    if returncode < 0:
        return f"{FAILED}ended by {signal.Signals(-returncode).name}"
    if returncode > 0:
        return FAILED + _last_error(cell.log)
    return DONE if cell.done else f"{FAILED}it ended without a result"


def run(cell: Cell, needs: Sequence[str], *statuses: str) -> str:
    """Run a cell to its end, and return its status; `statuses` are those of the cells named by `needs`."""
    reason = blocked(cell, dict(zip(needs, statuses, strict=True)))
    if reason:
        return reason
    process = start(cell)
    if isinstance(process, str):
        return process
    try:
        return status_of(cell, process.wait())
    finally:
        process.kill()
