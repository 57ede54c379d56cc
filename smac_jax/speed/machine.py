"""The machine: what it is, and the fastest that it multiplies matrices."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from smac_jax.cores import usable_cores

SGEMM = "sgemm"
"""Method of the row that measures the machine."""
BFLOAT16 = "bfloat16"
"""Method of the row that measures the same product of bfloat16 numbers, accumulated in float32."""
PRODUCTS = {SGEMM: jnp.float32, BFLOAT16: jnp.bfloat16}
"""Type of the factors by method."""

_PACKAGES = ("smac-jax", "jax", "jaxlib", "flax", "optax", "numpy")
_SIDES = (512, 1024, 2048)
_FLOPS_PER_CALL = 4e9
# Of each side; the first one is slow.
_TRIALS = 4


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe_machine() -> dict[str, Any]:
    """CPU, cores that may be used, memory in units of 2^30 bytes, system and versions; nothing that names the host."""
    versions = {"python": platform.python_version()}
    versions |= {package: importlib.metadata.version(package) for package in _PACKAGES}
    return {
        "cpu": _cpu_model(),
        "cores": len(usable_cores()),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def _compile_product(side: int, dtype: DTypeLike) -> tuple[float, Callable[[], None]]:
    """GFLOP of one call, and the call: products of square matrices one after the other, so that its start is little."""
    products = max(1, round(_FLOPS_PER_CALL / (2 * side**3)))
    # A spectral radius of about 1 keeps the numbers in range.
    matrix = jnp.asarray(np.random.default_rng(0).standard_normal((side, side), np.float32) / np.sqrt(side), dtype)

    def multiply(start: jax.Array, matrix: jax.Array) -> jax.Array:
        def product(_: int, x: jax.Array) -> jax.Array:
            return jax.lax.dot(x, matrix, preferred_element_type=jnp.float32).astype(dtype)

        return jax.lax.fori_loop(0, products, product, start)

    compiled = jax.jit(multiply).lower(matrix, matrix).compile()
    return products * 2e-9 * side**3, lambda: jax.block_until_ready(compiled(matrix, matrix))


def _seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def make_matrix_product(method: str = SGEMM) -> tuple[dict[str, Any], Callable[[], float]]:
    """The worker of one of `PRODUCTS`: what to say of it, and the function that does some work.

    An update is one GFLOP of products of square matrices, of the side that was the fastest when all were tried.
    """
    start = time.perf_counter()
    products = {side: _compile_product(side, PRODUCTS[method]) for side in _SIDES}
    compile_seconds = time.perf_counter() - start
    fastest = {side: gflop / min(_seconds(call) for _ in range(_TRIALS)) for side, (gflop, call) in products.items()}
    side = max(fastest, key=lambda side: fastest[side])
    gflop, call = products[side]

    def run() -> float:
        call()
        return gflop

    return {"compile_seconds": compile_seconds, "flops_per_update": 1e9, "side": side}, run
