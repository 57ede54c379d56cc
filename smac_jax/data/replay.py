"""Replay of online transitions on the device, one buffer a seed, filled in lock-step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from smac_jax.types import Batch


class Replay(NamedTuple):
    """Ring buffers of S seeds.

    Attributes:
        data: leaves (S, C, ...), C the capacity.
        inserted: int32, how many transitions each seed has inserted so far; the next goes to `inserted % C`.
    """

    data: Batch
    inserted: jax.Array

    @property
    def capacity(self) -> int:
        """C."""
        return int(self.data.rewards.shape[1])

    @property
    def size(self) -> jax.Array:
        """Number of filled rows, int32."""
        return jnp.minimum(self.inserted, self.capacity)


def create_replay(seeds: int, capacity: int, observation_dim: int, action_dim: int) -> Replay:
    """Empty buffers for S = `seeds`."""

    def zeros(*shape: int) -> jax.Array:
        return jnp.zeros((seeds, capacity, *shape), jnp.float32)

    data = Batch(
        observations=zeros(observation_dim),
        actions=zeros(action_dim),
        rewards=zeros(),
        masks=zeros(),
        next_observations=zeros(observation_dim),
        mc_returns=zeros(),
    )
    return Replay(data, jnp.zeros((), jnp.int32))


def insert(replay: Replay, transitions: Batch) -> Replay:
    """Insert one transition a seed, leaves (S, ...), over the oldest where the buffer is full."""
    row = replay.inserted % replay.capacity
    data = jax.tree.map(lambda rows, new: rows.at[:, row].set(new), replay.data, transitions)
    return Replay(data, replay.inserted + 1)


def sample_replay(replay: Replay, keys: jax.Array, batch_size: int) -> Batch:
    """Draw (S, B) transitions uniformly with replacement, each seed with its own key of (S,)."""

    def sample(data: Batch, key: jax.Array) -> Batch:
        indices = jax.random.randint(key, (batch_size,), 0, replay.size)
        return jax.tree.map(lambda rows: rows[indices], data)

    return jax.vmap(sample)(replay.data, keys)


def record_returns(
    replay: Replay, seed: int | jax.Array, length: int | jax.Array, tail: jax.Array, discount: float, horizon: int
) -> Replay:
    """Write the Monte-Carlo returns of a seed's episode that has just ended, which Cal-QL bounds values with.

    Args:
        replay: the episode's transitions were inserted last.
        seed: index of the seed.
        length: of the episode, in steps.
        tail: scalar, value of what follows its last step.
        discount: gamma.
        horizon: longest episode; static.

    Returns:
        The replay with `mc_returns` of those rows; rows that the episode itself has overwritten are left out.
    """
    ages = jnp.arange(horizon)
    rows = (replay.inserted - 1 - ages) % replay.capacity
    recent = ages < jnp.minimum(length, replay.capacity)
    rewards = jnp.where(recent, replay.data.rewards[seed, rows], 0.0)

    def add(following: jax.Array, reward: jax.Array) -> tuple[jax.Array, jax.Array]:
        value = reward + discount * following
        return value, value

    _, returns = jax.lax.scan(add, jnp.asarray(tail, jnp.float32), rewards)
    # Rows that are not of the episode are sent out of bounds, where writing does nothing.
    targets = jnp.where(recent, rows, replay.capacity)
    mc_returns = replay.data.mc_returns.at[seed, targets].set(returns, mode="drop")
    return replay._replace(data=replay.data._replace(mc_returns=mc_returns))


def filled_rows(replay: Replay) -> Replay:
    """The buffer without its empty rows, for saving; one row at least, since an empty array cannot be saved."""
    size = max(int(replay.size), 1)
    return replay._replace(data=jax.tree.map(lambda rows: rows[:, :size], replay.data))


def with_capacity(replay: Replay, capacity: int) -> Replay:
    """Undo `filled_rows`: pad with empty rows up to `capacity`."""

    def pad(rows: jax.Array) -> jax.Array:
        empty = jnp.zeros((rows.shape[0], capacity - rows.shape[1], *rows.shape[2:]), rows.dtype)
        return jnp.concatenate([jnp.asarray(rows), empty], axis=1)

    return replay._replace(data=jax.tree.map(pad, replay.data))
