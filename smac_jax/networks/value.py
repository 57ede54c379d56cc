"""The state-value function."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from smac_jax.networks.mlp import MLP


class Value(nn.Module):
    """State-value function V(s).

    Attributes:
        hidden_dims: width of each hidden layer.
        activation: a key of `networks.mlp.ACTIVATIONS`.
        layer_norm: normalise before each activation.
    """

    hidden_dims: Sequence[int]
    activation: str = "relu"
    layer_norm: bool = True

    @nn.compact
    def __call__(self, observations: jax.Array) -> jax.Array:
        """Map observations (..., O) to values (...)."""
        hidden = MLP(self.hidden_dims, self.activation, self.layer_norm, name="mlp")(observations)
        return jnp.squeeze(nn.Dense(1, name="value")(hidden), axis=-1)
