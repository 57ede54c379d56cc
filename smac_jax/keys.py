"""Randomness as a function of names and counters, so that nothing random has to be saved.

A seed's streams depend on that seed alone: its run is the same in any company and resumes bit for bit.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

_STREAMS = {"init": 0, "update": 1, "act": 2}
_EPISODE_STREAMS = {"train": 0, "evaluation": 1, "record": 2}


def stream_keys(seeds: Sequence[int], stream: Literal["init", "update", "act"]) -> jax.Array:
    """PRNG keys (S,) of one stream; draws at counter t use `fold_in(key, t)`."""
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, _STREAMS[stream])


def fold_seeds(keys: jax.Array, counter: jax.Array | int) -> jax.Array:
    """Fold one counter into every key of (S,)."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, counter)


def episode_seed(seed: int, stream: Literal["train", "evaluation", "record"], *counters: int) -> int:
    """Reset seed of an episode, distinct for each seed, stream and counters (at most one in 2^31 collides)."""
    sequence = np.random.SeedSequence([seed, _EPISODE_STREAMS[stream], *counters])
    return int(sequence.generate_state(1)[0] >> 1)
