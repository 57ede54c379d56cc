"""Optimisers: Adam everywhere, or Muon on hidden kernels and Adam elsewhere.

Beside Muon, optax gives Adam Nesterov momentum too.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from optax import contrib

from smac_jax.types import KeyPath, Params

# Reduction axis -2 and output axis -1 hold with any number of leading axes (ensemble members, seeds), each of
# which Muon then orthogonalises on its own.
_KERNEL_AXES = contrib.MuonDimensionNumbers(reduction_axis=-2, output_axis=-1)


NEWTON_SCHULZ_STEPS = 4
"""Iterations of Muon's orthogonalisation."""


def is_hidden_kernel(path: KeyPath) -> bool:
    """Whether a parameter's path ends in `hidden_<i>/kernel`: matrices that Muon takes, output layers excluded."""
    names = [str(getattr(entry, "key", entry)) for entry in path]
    return len(names) >= 2 and names[-1] == "kernel" and names[-2].startswith("hidden_")


def muon_dimension_numbers(params: Params) -> Params:
    """Tree like `params` with Muon's axes at hidden kernels and None, meaning Adam, elsewhere.

    Stated explicitly because Muon's own rule (matrices are the leaves of rank 2) picks the (E, d) biases of an
    ensemble and misses its (E, in, out) kernels.
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: _KERNEL_AXES if is_hidden_kernel(path) else None, params)


class RefreshedState(NamedTuple):
    """State of `refresh_every`.

    Attributes:
        inner: of the inner optimiser.
        gradients: mean of the gradients since the last refresh.
        updates: of the last refresh.
    """

    inner: optax.OptState
    gradients: optax.Updates
    updates: optax.Updates


def refresh_every(inner: optax.GradientTransformation, every: int) -> optax.GradientTransformationExtraArgs:
    """Ask `inner` for an update on every `every`-th step, with the mean gradient since, and repeat it in between.

    Made for Muon, whose direction is expensive and, for its momentum, changes little from step to step. Its
    update has to be told `step`, a scalar that all seeds share: from a counter of its own, which `jax.vmap` maps over
    the seeds, the branch would become a selection between two computed results.
    """

    def init(params: Params) -> RefreshedState:
        zeros = optax.tree.zeros_like(params)
        return RefreshedState(inner.init(params), zeros, zeros)

    def update(
        gradients: optax.Updates, state: RefreshedState, params: Params = None, *, step: jax.Array, **_: Any
    ) -> tuple[optax.Updates, RefreshedState]:
        mean = jax.tree.map(lambda sum_, new: sum_ + new / every, state.gradients, gradients)

        def refresh() -> RefreshedState:
            updates, inner_state = inner.update(mean, state.inner, params)
            return RefreshedState(inner_state, optax.tree.zeros_like(mean), updates)

        state = jax.lax.cond(step % every == 0, refresh, lambda: state._replace(gradients=mean))
        return state.updates, state

    return optax.GradientTransformationExtraArgs(init, update)


def _muon(learning_rate: float, every: int) -> optax.GradientTransformationExtraArgs:
    # consistent_rms = 0.2 gives updates of Adam's size, so that one learning rate serves both
    # (Liu et al., 2025, arXiv 2502.16982). Preconditioned, four iterations come as near to an orthogonal matrix as
    # Muon's five (Boissin et al., 2025, arXiv 2512.04632).
    muon = contrib.muon(
        learning_rate,
        ns_steps=NEWTON_SCHULZ_STEPS,
        preconditioning="aol",
        consistent_rms=0.2,
        muon_weight_dimension_numbers=muon_dimension_numbers,
    )
    if every == 1:
        return optax.with_extra_args_support(muon)
    return optax.partition(
        {"muon": refresh_every(muon, every), "adam": optax.adam(learning_rate, nesterov=True)},
        lambda params: jax.tree_util.tree_map_with_path(
            lambda path, _: "muon" if is_hidden_kernel(path) else "adam", params
        ),
    )


OPTIMIZERS: dict[str, Callable[[float, int], optax.GradientTransformationExtraArgs]] = {
    "adam": lambda learning_rate, _: optax.with_extra_args_support(optax.adam(learning_rate)),
    "muon": _muon,
}
"""Constructors by configuration name, of a learning rate and the steps between two of Muon's orthogonalisations."""


@functools.cache
def scale_where(
    inner: optax.GradientTransformationExtraArgs, factor: float, chosen: Callable[[KeyPath], bool]
) -> optax.GradientTransformationExtraArgs:
    """`inner`, whose updates of the parameters with a `chosen` path are multiplied by `factor`: a rate of their own.

    The state is `inner`'s, so that one with and one without such a rate go on from each other's.
    """

    def update(
        gradients: optax.Updates, state: optax.OptState, params: Params = None, **extra: Any
    ) -> tuple[optax.Updates, optax.OptState]:
        updates, state = inner.update(gradients, state, params, **extra)
        scaled = jax.tree_util.tree_map_with_path(lambda path, x: factor * x if chosen(path) else x, updates)
        return scaled, state

    return optax.GradientTransformationExtraArgs(inner.init, update)


@functools.cache
def make_optimizer(name: str, learning_rate: float, muon_every: int = 1) -> optax.GradientTransformationExtraArgs:
    """Optimiser by name; equal arguments give the same object, so that equal agents share one compilation.

    Its update takes `step`, the scalar number of updates so far, which all seeds share.
    """
    return OPTIMIZERS[name](learning_rate, muon_every)
