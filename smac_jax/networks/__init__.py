"""Networks: tanh-Gaussian actor, critic ensemble, state value, and the denoiser of the data's actions."""

from smac_jax.networks.actor import TanhGaussianActor
from smac_jax.networks.critic import Critic, init_ensemble, is_advantage
from smac_jax.networks.denoiser import Denoiser
from smac_jax.networks.value import Value

__all__ = ["Critic", "Denoiser", "TanhGaussianActor", "Value", "init_ensemble", "is_advantage"]
