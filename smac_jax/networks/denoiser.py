"""The conditional noise-prediction network behind the score of the dataset's actions."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from smac_jax.networks.mlp import MLP

_FREQUENCIES = 4


class Denoiser(nn.Module):
    """Predicts the noise that was mixed into an action (Ho et al., 2020, arXiv 2006.11239).

    Attributes:
        action_dim: A.
        hidden_dims: width of each hidden layer.
        activation: a key of `networks.mlp.ACTIVATIONS`; a smooth one gives a smooth score.
    """

    action_dim: int
    hidden_dims: Sequence[int]
    activation: str = "silu"

    @nn.compact
    def __call__(self, noised_actions: jax.Array, observations: jax.Array, log_snr: jax.Array) -> jax.Array:
        """Predict the noise.

        Args:
            noised_actions: (..., A).
            observations: (..., O).
            log_snr: (...), the noise level as log(abar / (1 - abar)).

        Returns:
            Predicted noise (..., A).
        """
        angles = 0.25 * log_snr[..., None] * 2.0 ** jnp.arange(_FREQUENCIES, dtype=log_snr.dtype)
        level = jnp.concatenate([0.25 * log_snr[..., None], jnp.sin(angles), jnp.cos(angles)], axis=-1)
        inputs = jnp.concatenate([noised_actions, observations, level], axis=-1)
        hidden = MLP(self.hidden_dims, self.activation, name="mlp")(inputs)
        return nn.Dense(self.action_dim, kernel_init=nn.initializers.zeros, name="noise")(hidden)
