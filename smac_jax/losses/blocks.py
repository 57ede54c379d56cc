"""A mean loss whose rows are differentiated block by block."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from smac_jax.types import Info, Params

MeanLoss = Callable[..., tuple[jax.Array, Info]]
"""`loss(params, *arrays) -> (loss, info)`, both means over the arrays' leading axis."""


def mean_in_blocks(loss: MeanLoss, params: Params, arrays: tuple[jax.Array, ...], rows: int) -> tuple[jax.Array, Info]:
    """`loss(params, *arrays)`, of which each block is differentiated before the next one is evaluated.

    The gradient is the same up to rounding. What a block leaves for its backward pass stays in the cache of a CPU,
    where a large batch's would travel to memory and back.

    Args:
        loss: see `MeanLoss`; must not close over traced arrays.
        params: to differentiate; once, not twice.
        arrays: held constant, each with the same number of rows.
        rows: of a block.

    Raises:
        ValueError: the rows are no multiple of the block's.
    """
    count, rest = divmod(arrays[0].shape[0], rows)
    if rest:
        raise ValueError(f"{arrays[0].shape[0]} rows are not divisible into blocks of {rows}")
    stacked = tuple(array.reshape(count, rows, *array.shape[1:]) for array in arrays)

    def mean(parts: tuple[jax.Array, Info]) -> tuple[jax.Array, Info]:
        return jax.tree.map(lambda part: jnp.mean(part, axis=0), parts)

    @jax.custom_vjp
    def blocked(params: Params, stacked: tuple[jax.Array, ...]) -> tuple[jax.Array, Info]:
        return mean(jax.lax.map(lambda block: loss(params, *block), stacked))

    def forward(params: Params, stacked: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, Info], Params]:
        def add(total: Params, block: tuple[jax.Array, ...]) -> tuple[Params, tuple[jax.Array, Info]]:
            value, gradient = jax.value_and_grad(loss, has_aux=True)(params, *block)
            return jax.tree.map(jnp.add, total, gradient), value

        total, values = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), stacked)
        return mean(values), jax.tree.map(lambda leaf: leaf / count, total)

    def backward(gradient: Params, cotangents: tuple[jax.Array, Info]) -> tuple[Params, None]:
        return jax.tree.map(lambda leaf: cotangents[0] * leaf, gradient), None

    blocked.defvjp(forward, backward)
    return blocked(params, stacked)
