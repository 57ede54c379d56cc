"""The entropy temperature."""

import chex
import jax
import jax.numpy as jnp

from smac_jax.types import Info


def temperature(log_temperature: jax.Array, entropy: jax.Array, target_entropy: float) -> tuple[jax.Array, Info]:
    """Automatic temperature: alpha (H - H_target) (Haarnoja et al., 2018, arXiv 1812.05905, eq. 18).

    The gradient raises alpha while the policy's entropy is below its target and lowers it above.

    Args:
        log_temperature: scalar to differentiate; alpha = exp(log_temperature).
        entropy: scalar, the policy's mean entropy in nats; held constant.
        target_entropy: nats.

    Returns:
        Loss and info.
    """
    chex.assert_rank([log_temperature, entropy], 0)
    alpha = jnp.exp(log_temperature)
    loss = alpha * (jax.lax.stop_gradient(entropy) - target_entropy)
    return loss, {"temperature": alpha, "temperature_loss": loss}
