import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smac_jax.data.replay import create_replay, filled_rows, insert, record_returns, sample_replay, with_capacity
from smac_jax.data.returns import monte_carlo_returns
from smac_jax.keys import stream_keys
from smac_jax.training.online import make_returns_writer
from smac_jax.types import Batch

SEEDS, OBSERVATIONS, ACTIONS = 2, 3, 1


def transition(number):
    """One transition a seed; every entry tells its number and, in the hundreds, its seed."""
    marks = number + 100.0 * np.arange(SEEDS, dtype=np.float32)
    wide = np.repeat(marks[:, None], OBSERVATIONS, axis=1)
    return Batch(wide, marks[:, None], marks, np.ones(SEEDS, np.float32), wide + 0.5, np.full(SEEDS, -np.inf))


def filled(count, capacity):
    replay = create_replay(SEEDS, capacity, OBSERVATIONS, ACTIONS)
    for number in range(1, count + 1):
        replay = insert(replay, transition(number))
    return replay


def trees_equal(one, other):
    return all(
        np.array_equal(left, right) and left.dtype == right.dtype
        for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


def test_seeds_are_filled_in_lock_step():
    replay = filled(3, capacity=5)
    assert (replay.capacity, int(replay.size), int(replay.inserted)) == (5, 3, 3)
    np.testing.assert_array_equal(replay.data.rewards, [[1, 2, 3, 0, 0], [101, 102, 103, 0, 0]])
    np.testing.assert_array_equal(replay.data.next_observations[1, 2], [103.5] * OBSERVATIONS)
    np.testing.assert_array_equal(replay.data.mc_returns[:, :3], -np.inf)


def test_full_buffer_overwrites_the_oldest():
    replay = filled(7, capacity=3)
    assert (int(replay.size), int(replay.inserted)) == (3, 7)
    np.testing.assert_array_equal(replay.data.rewards, [[7, 5, 6], [107, 105, 106]])
    np.testing.assert_array_equal(replay.data.observations[0, :, 0], [7, 5, 6])


@pytest.mark.parametrize(("count", "expected"), [(1, {1}), (3, {1, 2, 3}), (6, {3, 4, 5, 6})])
def test_samples_come_from_all_filled_rows_and_no_others(count, expected):
    batch = sample_replay(filled(count, capacity=4), stream_keys([0, 1], "update"), 200)
    assert batch.observations.shape == (SEEDS, 200, OBSERVATIONS)
    assert batch.rewards.shape == (SEEDS, 200)
    for seed in range(SEEDS):
        assert set(np.asarray(batch.rewards[seed]).tolist()) == {number + 100 * seed for number in expected}
    # The parts of a sampled row belong together.
    np.testing.assert_array_equal(batch.next_observations[..., 0], batch.rewards + 0.5)
    np.testing.assert_array_equal(batch.actions[..., 0], batch.rewards)


def test_a_seeds_samples_depend_on_its_key_alone():
    replay = filled(30, capacity=32)
    keys = stream_keys([4, 9], "update")
    batch = sample_replay(replay, keys, 16)
    swapped = sample_replay(replay._replace(data=jax.tree.map(lambda rows: rows[::-1], replay.data)), keys[::-1], 16)
    assert trees_equal(batch, jax.tree.map(lambda rows: rows[::-1], swapped))
    assert not np.array_equal(batch.rewards[0], batch.rewards[1] - 100.0)


@pytest.mark.parametrize("count", [0, 2, 4, 9], ids=["empty", "part", "full", "wrapped"])
def test_filled_rows_are_padded_back(count):
    replay = filled(count, capacity=4)
    saved = filled_rows(replay)
    assert saved.capacity == min(max(count, 1), 4)
    restored = with_capacity(saved, 4)
    assert trees_equal(restored, replay)
    assert trees_equal(insert(restored, transition(50)), insert(replay, transition(50)))


def test_returns_of_an_episode_by_hand():
    # Rewards 1, 2, 3; the last two are the episode, and -10 follows them.
    replay = record_returns(filled(3, capacity=5), 0, 2, jnp.asarray(-10.0), 0.5, horizon=4)
    np.testing.assert_array_equal(replay.data.mc_returns[0], [-np.inf, 2.0 + 0.5 * (3.0 - 5.0), 3.0 - 5.0, 0.0, 0.0])
    np.testing.assert_array_equal(replay.data.mc_returns[1], [-np.inf] * 3 + [0.0] * 2)


@pytest.mark.parametrize("capacity", [20, 9, 5, 3, 1], ids="capacity {}".format)
def test_returns_of_episodes_lie_on_their_own_rows(capacity):
    # Each seed has episodes of its own lengths; the ring wraps around within them, and cuts those that it cannot hold.
    ends = {0: [(3, -4.0), (7, 0.0), (12, 2.0)], 1: [(6, 1.0), (13, -3.0)]}
    steps, discount = 14, 0.9
    replay = create_replay(SEEDS, capacity, OBSERVATIONS, ACTIONS)
    expected = np.full((SEEDS, steps), -np.inf)
    for step in range(1, steps + 1):
        replay = insert(replay, transition(step))
        for seed, episodes in ends.items():
            begin = 0
            for end, tail in episodes:
                if step == end:
                    replay = record_returns(replay, seed, end - begin, jnp.asarray(tail), discount, horizon=8)
                    rewards = 100.0 * seed + np.arange(begin + 1, end + 1)
                    expected[seed, begin:end] = monte_carlo_returns(rewards, discount, tail)
                begin = end
    held = np.arange(max(steps - capacity, 0), steps)
    np.testing.assert_allclose(replay.data.mc_returns[:, held % capacity], expected[:, held], rtol=1e-5)
    np.testing.assert_array_equal(replay.data.rewards[:, held % capacity], [held + 1, held + 101])
    assert int(replay.inserted) == steps


def test_writing_returns_compiles_once_for_all_lengths():
    write, replay = make_returns_writer(0.5, 8), filled(6, capacity=7)
    for length, tail in ((2, 0.0), (6, -4.0)):
        replay = write(replay, 1, length, tail)
    assert write._cache_size() == 1
    np.testing.assert_allclose(replay.data.mc_returns[1, :6], monte_carlo_returns(np.arange(101, 107), 0.5, -4.0))


def test_insertion_compiles_once():
    traces = []

    def traced(replay, transitions):
        traces.append(1)
        return insert(replay, transitions)

    jitted, replay = jax.jit(traced), create_replay(SEEDS, 3, OBSERVATIONS, ACTIONS)
    for number in range(1, 6):
        replay = jitted(replay, transition(number))
    assert len(traces) == 1
    assert trees_equal(replay, filled(5, capacity=3))
    assert replay.inserted.dtype == jnp.int32
