"""Where the time of compiled updates goes: how much of it in products of matrices, by a trace of each operation."""

import contextlib
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jax
from jax.profiler import ProfileData, ProfileOptions

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = ")
_FUSED = re.compile(r"calls=%?([\w.\-]+)")
_PRODUCT = " dot("

TRACED_SECONDS = 0.2
"""As long as a few updates of large networks take; small ones have so many operations that a longer trace is slow."""


class Operations(NamedTuple):
    """Names of a compiled program's operations.

    Attributes:
        all: of them, those inside fused ones included.
        products: products of matrices, and what holds one among what is fused.
    """

    all: set[str]
    products: set[str]


def find_operations(program: str) -> Operations:
    """Read a program's operations from the text of its optimised HLO, `jax.stages.Compiled.as_text`."""
    holding, computation = set(), ""
    lines = program.splitlines()
    for line in lines:
        if begins := _COMPUTATION.match(line):
            computation = begins[1]
        elif _PRODUCT in line:
            holding.add(computation)
    operations = Operations(set(), set())
    for line in lines:
        if instruction := _INSTRUCTION.match(line):
            fused = _FUSED.search(line)
            operations.all.add(instruction[1])
            if _PRODUCT in line or (fused and fused[1] in holding):
                operations.products.add(instruction[1])
    return operations


@contextlib.contextmanager
def _repeated(run: Callable[[], object]) -> Iterator[None]:
    """Run again and again in another thread meanwhile."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.is_set():
            run()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(repeat)
        try:
            yield
        finally:
            ended.set()
            running.result()


def products_share(program: str, run: Callable[[], object]) -> float:
    """Share of the time in which a program makes products of matrices, on one thread.

    Args:
        program: see `find_operations`.
        run: runs it and waits for it; called again and again, of which JAX's profiler sees `TRACED_SECONDS`, as the
            trace of a whole call may have a million operations.

    Returns:
        Between 0 and 1, of the seconds from the first operation that is seen to the last.
    """
    operations = find_operations(program)
    options = ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with _repeated(run), jax.profiler.trace(folder, profiler_options=options):
            time.sleep(TRACED_SECONDS)
        (path,) = Path(folder).rglob("*.xplane.pb")
        planes = ProfileData.from_file(str(path)).planes
    events = [
        event for plane in planes for line in plane.lines for event in line.events if event.name in operations.all
    ]
    starts = [event.start_ns for event in events]
    ends = [event.start_ns + event.duration_ns for event in events]
    inside = sum(event.duration_ns for event in events if event.name in operations.products)
    return inside / (max(ends) - min(starts))
