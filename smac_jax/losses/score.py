"""Score of the dataset's action distribution, by denoising.

Noise levels are given as log signal-to-noise ratios: abar = sigmoid(log_snr) is the share of the signal's variance,
1 - abar = sigmoid(-log_snr) that of the noise.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from smac_jax.types import Info, Params

_GOLDEN_RATIO = 0.6180339887498949


def sample_log_snr(key: jax.Array, batch_size: int, low: float, high: float) -> jax.Array:
    """Draw noise levels (B,), each uniform in log signal-to-noise ratio between `low` and `high`.

    They are a random shift of one sequence of low discrepancy (multiples of the golden ratio), so that every batch, and
    every run of its rows, covers the levels evenly; the variance of a mean over them is smaller for it
    (Kingma et al., 2021, arXiv 2107.00630, section I.1, do so with a regular grid).
    """
    shift = jax.random.uniform(key)
    positions = (shift + _GOLDEN_RATIO * jnp.arange(batch_size)) % 1.0
    return low + (high - low) * positions


def add_noise(actions: jax.Array, noise: jax.Array, log_snr: jax.Array) -> jax.Array:
    """Mix noise into actions: z = sqrt(abar) a + sqrt(1 - abar) e.

    Args:
        actions: (B, A).
        noise: (B, A), standard normal.
        log_snr: (B,).

    Returns:
        Noised actions (B, A).
    """
    chex.assert_rank([actions, log_snr], [2, 1])
    chex.assert_equal_shape((actions, noise))
    signal = jnp.sqrt(jax.nn.sigmoid(log_snr))[:, None]
    spread = jnp.sqrt(jax.nn.sigmoid(-log_snr))[:, None]
    return signal * actions + spread * noise


def noise_to_score(noise: jax.Array, log_snr: jax.Array) -> jax.Array:
    """Convert predicted noise (B, A) to the score of the noised distribution: -noise / sqrt(1 - abar)."""
    chex.assert_rank([noise, log_snr], [2, 1])
    return -noise / jnp.sqrt(jax.nn.sigmoid(-log_snr))[:, None]


def denoising_score_matching(
    denoiser_apply: Callable[..., jax.Array],
    denoiser_params: Params,
    observations: jax.Array,
    actions: jax.Array,
    key: jax.Array,
    *,
    min_log_snr: float = -1.0,
    max_log_snr: float = 6.0,
) -> tuple[jax.Array, Info]:
    """Noise-prediction loss E ||eps(z, s, level) - e||^2 (Ho et al., 2020, arXiv 2006.11239, eq. 14).

    Its minimiser satisfies `noise_to_score(eps) = grad_z log p(z | s)` for the noised actions z (Vincent, 2011).

    Args:
        denoiser_apply: see the package docstring.
        denoiser_params: parameters to differentiate.
        observations: (B, O).
        actions: (B, A).
        key: PRNG key for levels and noise.
        min_log_snr: noisiest level.
        max_log_snr: cleanest level.

    Returns:
        Loss, summed over action dimensions and averaged over the batch, and info.
    """
    chex.assert_rank([observations, actions], 2)
    level_key, noise_key = jax.random.split(key)
    log_snr = sample_log_snr(level_key, actions.shape[0], min_log_snr, max_log_snr)
    noise = jax.random.normal(noise_key, actions.shape, actions.dtype)
    predicted = denoiser_apply(denoiser_params, add_noise(actions, noise, log_snr), observations, log_snr)
    chex.assert_equal_shape((predicted, noise))
    loss = jnp.mean(jnp.sum((predicted - noise) ** 2, axis=-1))
    return loss, {"denoiser_loss": loss}
