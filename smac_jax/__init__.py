"""Score-Matched Actor-Critic in JAX: offline pre-training that plain online methods fine-tune without a drop."""

from smac_jax.version import __version__

__all__ = ["__version__"]
