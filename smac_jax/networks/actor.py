"""The tanh-Gaussian actor."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from smac_jax.networks.mlp import MLP

LOG_STD_MIN = -10.0
LOG_STD_MAX = 2.0


class TanhGaussianActor(nn.Module):
    """Gaussian before a tanh, with state-dependent diagonal spread (Haarnoja et al., 2018, arXiv 1812.05905).

    SAC samples from it; TD3 reads its mode `tanh(mean)` as a deterministic policy.

    Attributes:
        action_dim: A.
        hidden_dims: width of each hidden layer.
        activation: a key of `networks.mlp.ACTIVATIONS`.
        layer_norm: normalise before each activation.
        detached_spread: the spread reads the hidden layers and does not shape them.
    """

    action_dim: int
    hidden_dims: Sequence[int]
    activation: str = "relu"
    layer_norm: bool = False
    detached_spread: bool = False

    @nn.compact
    def __call__(self, observations: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map observations (..., O) to the mean and log standard deviation before the tanh, each (..., A)."""
        hidden = MLP(self.hidden_dims, self.activation, self.layer_norm, name="mlp")(observations)
        small = nn.initializers.orthogonal(1e-2)
        mean = nn.Dense(self.action_dim, kernel_init=small, name="mean")(hidden)
        if self.detached_spread:
            hidden = jax.lax.stop_gradient(hidden)
        log_std = nn.Dense(self.action_dim, kernel_init=small, name="log_std")(hidden)
        return mean, jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)
