"""The cores of this process, and how XLA is held to one of them.

Of the standard library alone, which other libraries' workers of `launch.speed` have.
"""

import os
import sys

ONE_THREAD = ("--xla_cpu_multi_thread_eigen=false", "intra_op_parallelism_threads=1")
"""XLA_FLAGS with which a device computes in one thread."""


def usable_cores() -> list[int]:
    """Cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))
