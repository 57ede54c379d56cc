"""The density of the dataset's actions in closed form."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from smac_jax.networks.mlp import MLP

STD_MIN = 0.1
"""Smallest spread, in units of the action: a tenth of the way from no action to the largest. A critic whose values fall
faster than that beside the data leaves its actor no step that does not overshoot."""
STD_MAX = 2.0


class Behavior(nn.Module):
    """Mean and spread of the data's actions in the action space itself.

    In the space before a tanh, the density of actions near their bounds has no bound, and neither has its score.

    Attributes:
        action_dim: A.
        hidden_dims: width of each hidden layer.
        activation: a key of `networks.mlp.ACTIVATIONS`.
    """

    action_dim: int
    hidden_dims: Sequence[int]
    activation: str = "relu"

    @nn.compact
    def __call__(self, observations: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map observations (..., O) to mean, in (-1, 1), and log standard deviation, each (..., A)."""
        hidden = MLP(self.hidden_dims, self.activation, name="mlp")(observations)
        small = nn.initializers.orthogonal(1e-2)
        mean = jnp.tanh(nn.Dense(self.action_dim, kernel_init=small, name="mean")(hidden))
        log_std = nn.Dense(self.action_dim, kernel_init=small, name="log_std")(hidden)
        return mean, jnp.clip(log_std, math.log(STD_MIN), math.log(STD_MAX))
