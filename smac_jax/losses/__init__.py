"""Losses as pure functions of apply functions, parameters, arrays and a key.

None of them knows this package's train state or configuration, so any JAX agent can call them. Conventions:

* `actor_apply(params, observations) -> (mean, log_std)`, both (B, A), of a Gaussian before a tanh.
* `critic_apply(params, observations, actions) -> values`, (B,), is *one* critic. An argument named
  `critic_params` is an ensemble: every leaf has a leading axis E, also when E = 1.
* `denoiser_apply(params, noised_actions, observations, log_snr) -> noise`, (B, A).
* `value_apply(params, observations) -> values`, (B,), is a state-value function.
* Each loss returns `(loss, info)`: a scalar to differentiate, and a dict of scalars to log.
"""

from smac_jax.losses.actor import (
    behavior_cloning,
    sac_actor,
    score_distillation,
    td3_actor,
)
from smac_jax.losses.anchor import anchored_critic, anchored_critic_by_distance, mode_distance, softened_log_density
from smac_jax.losses.conservative import Proposals, cql_penalty, gap_multiplier
from smac_jax.losses.critic import ensemble_values, smooth_actions, td_error, td_target
from smac_jax.losses.score import (
    add_noise,
    denoising_score_matching,
    noise_to_score,
    sample_log_snr,
)
from smac_jax.losses.score_penalty import action_gradient, score_matching_penalty
from smac_jax.losses.temperature import temperature
from smac_jax.losses.value import advantage_weighted_actor, expectile, expectile_value

__all__ = [
    "Proposals",
    "action_gradient",
    "add_noise",
    "advantage_weighted_actor",
    "anchored_critic",
    "anchored_critic_by_distance",
    "behavior_cloning",
    "cql_penalty",
    "denoising_score_matching",
    "ensemble_values",
    "expectile",
    "expectile_value",
    "gap_multiplier",
    "mode_distance",
    "noise_to_score",
    "sac_actor",
    "sample_log_snr",
    "score_distillation",
    "score_matching_penalty",
    "smooth_actions",
    "softened_log_density",
    "td3_actor",
    "td_error",
    "td_target",
    "temperature",
]
