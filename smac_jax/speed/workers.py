"""Workers, one process a measured row, and the lines of JSON that they speak.

A worker measures one thing: updates of one method at one size. It gets its work on its command line and then

1. makes its agent, compiles and warms up, and prints `{"ready": true, "compile_seconds": s, "flops_per_update": f}`:
   seconds from the first call of the update to its result, null where nothing is compiled; floating-point operations
   of one update of one seed by the rules of `smac_jax.speed.flops`, null where unknown. Further names go into the row;
2. for each line `{"seconds": t}` on its input runs updates for about t seconds, waits until they are finished, and
   prints `{"updates": n, "seconds": s}`: updates made, those of every seed counted, and the time they took;
3. at the line `quit`, or at the end of its input, prints `{"peak_memory_mb": m}` (`ru_maxrss` in units of 2^20 bytes)
   and exits with code 0. Further names go into the row: a profile, whose cost is not to be measured.

Between lines it is idle. Its output carries nothing else: `open_channel` keeps a library's chatter out of it, and
`serve` does all the speaking. What goes wrong is said on standard error and by an exit code other than 0.

The parent keeps the workers of a group alive and lets one run at a time. It gives each the threads of its row: it pins
the process to as many cores before Python starts, where the system can do that, and sets the variables by which XLA,
OpenMP and BLAS count their threads. A worker need not limit itself, but a library that counts threads in its own way.

Other libraries' workers come from `launch.peers.groups.peer_groups(workdir)`, a list of `Group`. To each of them
`launch.speed` adds the matrix product, and for each row our own updates offline with the same sizes and overrides,
unless the group has a row with `peer` None that is the same otherwise. Those two rows are compared.

This module, `smac_jax.cores` and `smac_jax.speed.data` need the standard library and numpy alone: other libraries'
workers may run in an environment without JAX.
"""

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from smac_jax.cores import ONE_THREAD, usable_cores

ROW_FIELDS = ("method", "optimizer", "hidden_dims", "batch_size", "critics", "seeds", "threads", "peer", "overrides")
"""What a worker's row must say before it is measured: these make it what it is."""

_LAST_WORDS = 30.0
_THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Worker(NamedTuple):
    """A process to measure.

    Attributes:
        command: the whole command, interpreter included.
        env: variables in addition to those of the parent and of `thread_variables`.
        row: what is measured: all of `ROW_FIELDS`. `peer` is None for ours, else the library's name; `threads` is how
            many cores and threads the process gets; `overrides` holds fields in which our configuration differs from
            its default, also where a peer is compared with it.
    """

    command: list[str]
    env: dict[str, str]
    row: dict[str, Any]


class Group(NamedTuple):
    """Workers that are alive together and take turns, so that drift of the machine hits all of them alike."""

    name: str
    workers: list[Worker]


class Turn(NamedTuple):
    """What a worker did in one turn: updates, those of every seed counted, and seconds."""

    updates: float
    seconds: float

    @property
    def rate(self) -> float:
        """Updates per second."""
        return self.updates / self.seconds


class WorkerFailed(Exception):
    """A worker ended before its time; says why."""


class Process(NamedTuple):
    """A running worker."""

    worker: Worker
    popen: subprocess.Popen[str]
    log: Path


def label(row: Mapping[str, Any]) -> str:
    """Short name of a row, for progress and log files."""
    widths = "x".join(map(str, row["hidden_dims"]))
    parts = [row["peer"], row["method"], row["optimizer"], widths, f"batch{row['batch_size']}"]
    parts += [f"critics{row['critics']}", f"seeds{row['seeds']}", f"threads{row['threads']}"]
    parts += [f"{name.rpartition('.')[2]}={value}" for name, value in row["overrides"].items()]
    return "-".join(str(part) for part in parts if part)


def thread_variables(threads: int) -> dict[str, str]:
    """Environment variables that hold a process to a number of threads."""
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag not in ONE_THREAD]
    flags += ONE_THREAD if threads == 1 else ()
    return {**dict.fromkeys(_THREAD_COUNTS, str(threads)), "XLA_FLAGS": " ".join(flags)}


def start(worker: Worker, log: Path) -> Process:
    """Start a worker on the first of the usable cores, its standard error in a log."""
    cores = set(usable_cores()[: worker.row["threads"]])
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as errors:
        popen = subprocess.Popen(
            worker.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **thread_variables(worker.row["threads"]), **worker.env},
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if sys.platform == "linux" else None,
        )
    return Process(worker, popen, log)


def _receive(process: Process) -> dict[str, Any]:
    assert process.popen.stdout is not None
    line = process.popen.stdout.readline()
    with contextlib.suppress(ValueError):
        answer = json.loads(line)
        if isinstance(answer, dict):
            return answer
    # Its output ends before it has said on standard error what went wrong.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.popen.wait(0 if line else _LAST_WORDS)
    kill([process])
    said = [text for text in process.log.read_text(errors="replace").splitlines() if text.strip()]
    reason = f"it printed {line.strip()!r}" if line.strip() else (said or ["it printed nothing"])[-1]
    raise WorkerFailed(f"{reason.strip()[:300]} (see {process.log.parent.name}/{process.log.name})")


def _send(process: Process, line: str) -> None:
    assert process.popen.stdin is not None
    # A worker that has died is found out by its missing answer.
    with contextlib.suppress(BrokenPipeError):
        process.popen.stdin.write(line + "\n")
        process.popen.stdin.flush()


def wait_until_ready(process: Process) -> dict[str, Any]:
    """What the worker says of itself once it is ready to run.

    Raises:
        WorkerFailed: it ended, or said something else.
    """
    answer = _receive(process)
    if answer.pop("ready", None) is not True:
        raise WorkerFailed(f"it was not ready but said {answer}")
    return answer


def take_turn(process: Process, seconds: float) -> Turn:
    """Let a worker run for about `seconds`.

    Raises:
        WorkerFailed: it ended, or said something else.
    """
    _send(process, json.dumps({"seconds": seconds}))
    answer = _receive(process)
    return Turn(float(answer["updates"]), float(answer["seconds"]))


def finish(process: Process) -> dict[str, Any]:
    """End a worker; what it says of its memory.

    Raises:
        WorkerFailed: it ended in another way.
    """
    _send(process, "quit")
    answer = _receive(process)
    process.popen.wait()
    return answer


def kill(processes: Iterable[Process]) -> None:
    """End workers, whatever they are doing, and wait for it."""
    for process in processes:
        process.popen.kill()
        process.popen.wait()


@contextlib.contextmanager
def open_channel() -> Iterator[IO[str]]:
    """The worker's output, from where on everything else that is printed goes to standard error."""
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(2, 1)
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Else chatter would come out at the end, behind what the worker ended of.
            sys.stdout.reconfigure(line_buffering=True)
        yield channel


def serve(
    channel: IO[str],
    ready: Mapping[str, Any],
    run: Callable[[], float],
    profile: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Speak for a worker that is ready, until its input ends.

    Args:
        channel: see `open_channel`.
        ready: what to say of it, without `ready` itself.
        run: makes some updates, a small part of a turn, finishes them, and returns their number, every seed counted.
        profile: what else to say at the end, found out when all is measured.
    """

    def say(content: Mapping[str, Any]) -> None:
        channel.write(json.dumps(content) + "\n")
        channel.flush()

    say({"ready": True, **ready})
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        seconds, updates, start = json.loads(line)["seconds"], 0.0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds or updates == 0:
            updates += run()
        say({"updates": updates, "seconds": spent})
    say({"peak_memory_mb": peak_memory_mb(), **profile()})


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in units of 2^20 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, units of 1024 bytes elsewhere.
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
