"""Networks: the tanh-Gaussian actor, the critic ensemble, the state value and the denoiser."""

from smac_jax.networks.actor import TanhGaussianActor
from smac_jax.networks.critic import Critic, init_ensemble
from smac_jax.networks.denoiser import Denoiser
from smac_jax.networks.value import Value

__all__ = ["Critic", "Denoiser", "TanhGaussianActor", "Value", "init_ensemble"]
