"""Networks: the tanh-Gaussian actor, the critic ensemble and the denoiser."""

from smac_jax.networks.actor import TanhGaussianActor
from smac_jax.networks.critic import Critic, init_ensemble
from smac_jax.networks.denoiser import Denoiser

__all__ = ["Critic", "Denoiser", "TanhGaussianActor", "init_ensemble"]
