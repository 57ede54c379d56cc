"""Workers of a group take turns."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from smac_jax.speed.workers import (
    Group,
    Process,
    Worker,
    WorkerFailed,
    finish,
    kill,
    label,
    start,
    take_turn,
    wait_until_ready,
)


class Measured(NamedTuple):
    """A worker that went through all rounds.

    Attributes:
        worker: see `Worker`.
        said: by the worker of itself, when it was ready and when it ended.
        rates: updates per second in each round.
    """

    worker: Worker
    said: dict[str, Any]
    rates: list[float]


def actions(group: Group, rounds: int) -> int:
    """How often `measure` ticks: for each worker its start, its turns and its end."""
    return len(group.workers) * (rounds + 2)


def measure(
    group: Group, rounds: int, seconds: float, logs: Path, tick: Callable[[str], object]
) -> tuple[list[Measured], list[str]]:
    """Measure a group: all workers alive, one running at a time, in turns, every other round in reverse.

    Args:
        group: of workers.
        rounds: turns of each worker.
        seconds: of a turn.
        logs: directory of what the workers print.
        tick: called after each start, turn and end, with the worker's name.

    Returns:
        What was measured, in the group's order, and what failed, a line each.
    """
    processes: dict[int, Process] = {}
    said: dict[int, dict[str, Any]] = {}
    rates: dict[int, list[float]] = {}
    failures: dict[int, str] = {}
    names = [label(worker.row) for worker in group.workers]

    @contextlib.contextmanager
    def guard(number: int) -> Iterator[None]:
        try:
            yield
        except WorkerFailed as error:
            failures[number] = f"{names[number]}: {error}"

    def each(*, backwards: bool = False) -> Iterator[int]:
        for number in sorted(range(len(names)), reverse=backwards):
            if number not in failures:
                yield number
            tick(names[number])

    try:
        for number in each():
            with guard(number):
                processes[number] = start(group.workers[number], logs / f"{group.name}-{names[number]}.log")
                said[number], rates[number] = wait_until_ready(processes[number]), []
        for index in range(rounds):
            for number in each(backwards=index % 2 == 1):
                with guard(number):
                    rates[number].append(take_turn(processes[number], seconds).rate)
        for number in each():
            with guard(number):
                said[number] |= finish(processes[number])
    finally:
        kill(processes.values())
    kept = [Measured(group.workers[n], said[n], rates[n]) for n in range(len(names)) if n not in failures]
    return kept, list(failures.values())
