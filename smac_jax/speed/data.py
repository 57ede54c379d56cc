"""Made-up transitions of HalfCheetah's dimensions: what an update costs does not depend on what is in them."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from smac_jax.types import Batch

OBSERVATION_DIM, ACTION_DIM = 17, 6
TRANSITIONS = 100_000


def synthetic_transitions(transitions: int = TRANSITIONS, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays by the names of `smac_jax.types.Batch`, float32, observations of zero mean and unit spread."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    observations = normal(transitions, OBSERVATION_DIM)
    return {
        "observations": observations,
        "actions": np.tanh(normal(transitions, ACTION_DIM)),
        "rewards": normal(transitions),
        # HalfCheetah never terminates.
        "masks": np.ones(transitions, np.float32),
        "next_observations": observations + 0.1 * normal(transitions, OBSERVATION_DIM),
        "mc_returns": normal(transitions),
    }


def synthetic_batch(transitions: int = TRANSITIONS) -> Batch:
    """The same on the device."""
    columns: dict[str, Any] = {name: jnp.asarray(array) for name, array in synthetic_transitions(transitions).items()}
    return Batch(**columns)
