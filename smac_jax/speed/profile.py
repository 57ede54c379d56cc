"""Where the time of compiled updates goes: how much of it in products of matrices, by a trace of each operation."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
from jax.profiler import ProfileData, ProfileOptions

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = ")
_FUSED = re.compile(r"calls=%?([\w.\-]+)")
_PRODUCT = " dot("


def find_products(program: str) -> set[str]:
    """Names of a program's products of matrices, and of what holds one among what is fused.

    Args:
        program: text of its optimised HLO, `jax.stages.Compiled.as_text`.
    """
    holding, computation = set(), ""
    lines = program.splitlines()
    for line in lines:
        if begins := _COMPUTATION.match(line):
            computation = begins[1]
        elif _PRODUCT in line:
            holding.add(computation)
    products = set()
    for line in lines:
        instruction, fused = _INSTRUCTION.match(line), _FUSED.search(line)
        if instruction and (_PRODUCT in line or (fused and fused[1] in holding)):
            products.add(instruction[1])
    return products


def products_share(program: str, run: Callable[[], object]) -> float:
    """Share of the time in which a program makes products of matrices, on one thread.

    Tracing lengthens every operation and what lies between two of them by some microseconds, which in small networks is
    as long as the operations themselves.

    Args:
        program: see `find_products`.
        run: runs it once and waits for it; called once, under JAX's profiler, which needs some seconds for a program
            of a hundred thousand operations.

    Returns:
        Between 0 and 1, of the time from the first product to the last.
    """
    products = find_products(program)
    options = ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            run()
        (path,) = Path(folder).rglob("*.xplane.pb")
        planes = ProfileData.from_file(str(path)).planes
    lines = [line for plane in planes for line in plane.lines]
    events = [event for line in lines for event in line.events if event.name in products]
    if not events:
        return 0.0
    span = max(event.start_ns + event.duration_ns for event in events) - min(event.start_ns for event in events)
    return sum(event.duration_ns for event in events) / span
