"""Types shared by the whole library."""

from typing import Any, NamedTuple

import jax

Params = Any
"""A pytree of arrays: a flax variable dict or anything another agent passes to its own apply function."""

KeyPath = tuple[jax.tree_util.KeyEntry, ...]
"""Where a leaf is in a pytree."""

Info = dict[str, jax.Array]
"""Scalar losses and diagnostics by name."""


class Lookahead(NamedTuple):
    """Several steps of the recorded behaviour after each of a batch's observations.

    Attributes:
        rewards: (N,) float32, discounted sum of the rewards on the way, in the learner's reward.
        discounts: (N,) float32, what a value at the end of it counts for: gamma to the number of steps, 0 after a
            termination.
        observations: (N, O) float32, where it ends.
    """

    rewards: jax.Array
    discounts: jax.Array
    observations: jax.Array


class Batch(NamedTuple):
    """Transitions, stacked along the leading axis.

    One type serves a mini-batch (N = batch size), a whole dataset on the device (N = transitions) and a
    replay buffer (N = capacity).

    Attributes:
        observations: (N, O) float32, not standardised.
        actions: (N, A) float32 in [-1, 1].
        rewards: (N,) float32, after the task's scale and shift.
        masks: (N,) float32, 0 where the episode terminated, else 1. A truncated episode keeps 1: its value is
            bootstrapped.
        next_observations: (N, O) float32.
        mc_returns: (N,) float32, discounted return to the end of the recorded episode; -inf where unknown.
        lookahead: more than one step, for state values that are learned from them; None where none are.
        later_actions: (N, A) float32 in [-1, 1], recorded a few steps after each of the actions, in an episode's last
            rows its last; for imitations that lead. None where none do.
    """

    observations: jax.Array
    actions: jax.Array
    rewards: jax.Array
    masks: jax.Array
    next_observations: jax.Array
    mc_returns: jax.Array
    lookahead: Lookahead | None = None
    later_actions: jax.Array | None = None

    def share(self, fraction: float) -> "Batch":
        """The first `fraction` of the rows, at least one; the batch itself, uncopied, for a fraction of 1."""
        rows = max(round(fraction * self.rewards.shape[0]), 1)
        return self if fraction == 1 else jax.tree.map(lambda column: column[:rows], self)
