"""Optimisers: Adam everywhere, or Muon on hidden kernels and Adam elsewhere.

Beside Muon, optax gives Adam Nesterov momentum too.
"""

import functools
from collections.abc import Callable

import jax
import optax
from optax import contrib

from smac_jax.types import Params

# Reduction axis -2 and output axis -1 hold with any number of leading axes (ensemble members, seeds), each of
# which Muon then orthogonalises on its own.
_KERNEL_AXES = contrib.MuonDimensionNumbers(reduction_axis=-2, output_axis=-1)


def is_hidden_kernel(path: tuple[jax.tree_util.KeyEntry, ...]) -> bool:
    """Whether a parameter's path ends in `hidden_<i>/kernel`: matrices that Muon takes, output layers excluded."""
    names = [str(getattr(entry, "key", entry)) for entry in path]
    return len(names) >= 2 and names[-1] == "kernel" and names[-2].startswith("hidden_")


def muon_dimension_numbers(params: Params) -> Params:
    """Tree like `params` with Muon's axes at hidden kernels and None, meaning Adam, elsewhere.

    Stated explicitly because Muon's own rule (matrices are the leaves of rank 2) picks the (E, d) biases of an
    ensemble and misses its (E, in, out) kernels.
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: _KERNEL_AXES if is_hidden_kernel(path) else None, params)


def _muon(learning_rate: float) -> optax.GradientTransformation:
    # consistent_rms = 0.2 gives updates of Adam's size, so that one learning rate serves both
    # (Liu et al., 2025, arXiv 2502.16982).
    return contrib.muon(learning_rate, consistent_rms=0.2, muon_weight_dimension_numbers=muon_dimension_numbers)


OPTIMIZERS: dict[str, Callable[[float], optax.GradientTransformation]] = {"adam": optax.adam, "muon": _muon}
"""Constructors by configuration name; each takes a learning rate."""


@functools.cache
def make_optimizer(name: str, learning_rate: float) -> optax.GradientTransformation:
    """Optimiser by name; equal arguments give the same object, so that equal agents share one compilation."""
    return OPTIMIZERS[name](learning_rate)
