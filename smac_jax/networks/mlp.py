"""The multilayer perceptron under every network of this package."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "silu": nn.silu,
    "gelu": nn.gelu,
    "tanh": nn.tanh,
}


class MLP(nn.Module):
    """Hidden layers only; the caller adds the output layer.

    The layers are named `hidden_0`, `hidden_1`, ...; the optimiser finds the kernels that Muon takes by that name.

    Attributes:
        hidden_dims: width of each hidden layer.
        activation: a key of `ACTIVATIONS`.
        layer_norm: normalise before each activation.
    """

    hidden_dims: Sequence[int]
    activation: str = "relu"
    layer_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map (..., D) to (..., hidden_dims[-1])."""
        for index, width in enumerate(self.hidden_dims):
            x = nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5), name=f"hidden_{index}")(x)
            if self.layer_norm:
                x = nn.LayerNorm(name=f"norm_{index}")(x)
            x = ACTIVATIONS[self.activation](x)
        return x
