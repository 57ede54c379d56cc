"""Where the cells of a benchmark run: processes here, or tasks of Ray."""

import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from typing import Any

from launch.cells import FAILED, ROOT, Cell, blocked, run, start, status_of
from smac_jax.cores import usable_cores
from smac_jax.errors import InputError

# Settings of the user that must reach the machines of a cluster.
_FORWARDED = ("MINARI_", "JAX_", "XLA_", "MUJOCO_")


def default_jobs() -> int:
    """One job a core, or one where JAX finds an accelerator; asked in a process of its own, which frees it again."""
    question = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    answer = subprocess.run(question, capture_output=True, text=True, check=False).stdout.strip()
    return len(usable_cores()) if answer.endswith("cpu") else 1


def run_local(cells: Sequence[Cell], jobs: int) -> Generator[tuple[Cell, str], None, None]:
    """Run cells as processes, each once those it needs have ended and a job is free; yields what has ended."""
    cores = usable_cores()
    unfinished = {cell.name: cell for cell in cells}
    statuses: dict[str, str] = {}
    running: dict[str, tuple[int, subprocess.Popen[bytes]]] = {}
    # An exception raised by the signal itself is lost where it meets a hook of fork.
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())

    def advance(cell: Cell) -> str | None:
        """Start a cell if it can start; its status if it has ended."""
        if cell.name in running:
            ended = running[cell.name][1].poll() is not None
            return status_of(cell, running.pop(cell.name)[1].returncode) if ended else None
        if any(need in unfinished for need in cell.needs):
            return None
        free = set(range(jobs)) - {slot for slot, _ in running.values()}
        reason = blocked(cell, statuses)
        if reason is not None or not free:
            return reason
        started = start(cell, cores[min(free) % len(cores)] if jobs > 1 else None)
        if isinstance(started, str):
            return started
        running[cell.name] = min(free), started
        return None

    try:
        while unfinished:
            if stop.is_set():
                raise KeyboardInterrupt
            for cell in list(unfinished.values()):
                status = advance(cell)
                if status is not None:
                    statuses[cell.name] = status
                    del unfinished[cell.name]
                    yield cell, status
            time.sleep(0.1)
    finally:
        for _, process in running.values():
            process.kill()
            process.wait()


def run_on_ray(cells: Sequence[Cell], jobs: int | None, gpus: float) -> Generator[tuple[Cell, str], None, None]:
    """Run cells as Ray tasks that depend on each other; yields what has ended."""
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise InputError("--backend=ray needs Ray; pip install -e '.[cluster]', or use --backend=local") from error
    variables = {name: value for name, value in os.environ.items() if name.startswith(_FORWARDED)}
    variables["PYTHONPATH"] = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS", "local")
    here = {"num_cpus": jobs or len(usable_cores()), "include_dashboard": False} if address == "local" else {}
    host, _, port = address.rpartition("/")[2].rpartition(":")
    try:
        if port.isdigit():  # Ray itself would try for minutes.
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, runtime_env={"env_vars": variables}, log_to_driver=False, logging_level="ERROR", **here)
    except OSError as error:
        raise InputError(f"no Ray cluster answers at RAY_ADDRESS={address}; start it, or unset RAY_ADDRESS") from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has taken it for itself.
    try:
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=3)(run)
        references: dict[str, Any] = {}
        for cell in cells:
            needs = [name for name in cell.needs if name in references]
            references[cell.name] = task.remote(cell, needs, *(references[name] for name in needs))
        pending = {references[cell.name]: cell for cell in cells}
        while pending:
            (reference,), _ = ray.wait(list(pending), num_returns=1)
            try:
                status = ray.get(reference)
            except ray.exceptions.RayError as error:
                status = f"{FAILED}Ray: {(str(error).strip().splitlines() or [type(error).__name__])[-1]}"
            yield pending.pop(reference), status
    finally:
        ray.shutdown()
