import gymnasium as gym
import jax.numpy as jnp
import numpy as np
import pytest
from recorded import all_actions, assert_repeats, content_hash, episodes_of, lengths

from smac_jax.data.minari_dataset import open_dataset
from smac_jax.data.recipes import replay
from smac_jax.data.recipes.replay import record_replay
from smac_jax.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def shrink_replay(patch):
    """A SAC small enough for tests; gives its number of random steps."""
    for name, value in {"_RANDOM_STEPS": 20, "_HIDDEN_DIMS": (8,), "_BATCH_SIZE": 4, "_LEARNING_RATE": 1e-2}.items():
        patch.setattr(replay, name, value)
    return 20


def no_updates(*_, **__):
    return lambda state, *_: (state, {})


def without_training(patch):
    """No agent: three quarters of the largest action from the end of the random steps on."""
    patch.setattr(replay, "create_agents", lambda *_: None)
    patch.setattr(replay, "act_seeds", lambda state, observations, keys: jnp.full((1, 1), 0.75))
    patch.setattr(replay, "make_online_updates", no_updates)


def test_replay_records_every_step_natively_and_in_order(minari_path, monkeypatch):
    random_steps, calls = shrink_replay(monkeypatch), []
    without_training(monkeypatch)
    dataset = record_replay("pendulum/new-v0", "Pendulum-v1", 260, seed=3, on_step=lambda: calls.append(0))
    assert len(calls) == dataset.total_steps == 260
    assert lengths(dataset) == [200, 60]
    assert all(episode.truncations[-1] for episode in episodes_of(dataset))
    actions = all_actions(dataset)[:, 0]
    uniform = np.random.default_rng(3).uniform(-1.0, 1.0, random_steps)
    np.testing.assert_allclose(actions[:random_steps], 2.0 * uniform, rtol=1e-5)
    np.testing.assert_array_equal(actions[random_steps:], 1.5)
    assert dataset.spec.action_space.high == 2.0
    assert_repeats(dataset, gym.make("Pendulum-v1"), seed=3)


def test_replay_that_ends_with_an_episode_begins_no_other(minari_path, monkeypatch):
    shrink_replay(monkeypatch)
    without_training(monkeypatch)
    assert lengths(record_replay("pendulum/new-v0", "Pendulum-v1", 200)) == [200]


def test_replay_samples_the_policy_that_it_trains(minari_path, monkeypatch):
    random_steps = shrink_replay(monkeypatch)
    trained = record_replay("pendulum/trained-v0", "Pendulum-v1", 60)
    assert content_hash(record_replay("pendulum/again-v0", "Pendulum-v1", 60)) == content_hash(trained)
    monkeypatch.setattr(replay, "make_online_updates", no_updates)
    untrained = record_replay("pendulum/untrained-v0", "Pendulum-v1", 60)
    trained, untrained = all_actions(trained), all_actions(untrained)
    # The first action of the policy comes before its first update.
    np.testing.assert_array_equal(trained[: random_steps + 1], untrained[: random_steps + 1])
    assert not np.any(trained[random_steps + 1 :] == untrained[random_steps + 1 :])


def test_replay_of_locomotion_carries_the_reference_returns_of_d4rl(minari_path, monkeypatch):
    without_training(monkeypatch)
    dataset = record_replay("cheetah/new-v0", "HalfCheetah-v5", steps=10)
    assert dataset.storage.metadata["ref_min_score"] == -280.178953
    assert dataset.storage.metadata["ref_max_score"] == 12135.0
    assert dataset.storage.metadata["algorithm_name"] == "SAC"
    assert any(line.startswith("mujoco==") for line in dataset.storage.metadata["requirements"])
    assert lengths(dataset) == [10]


def test_replay_records_rewards_below_the_task_wrappers(minari_path, monkeypatch):
    without_training(monkeypatch)
    dataset = record_replay("adroit/new-v0", "AdroitHandPenSparse-v1", steps=3)
    assert dataset[0].rewards.tolist() == [-0.1] * 3


def test_replay_refuses_what_it_cannot_record(minari_path, monkeypatch):
    shrink_replay(monkeypatch)
    without_training(monkeypatch)
    with pytest.raises(InputError, match=r"no environment Nowhere-v0 \(.*\); check --env"):
        record_replay("pendulum/new-v0", "Nowhere-v0", 30)
    with pytest.raises(InputError, match="no Minari id; write --output=NAMESPACE/NAME-v0"):
        record_replay("pendulum/new", "Pendulum-v1", 30)
    assert not list(minari_path.iterdir())
    record_replay("pendulum/new-v0", "Pendulum-v1", 10)
    with pytest.raises(InputError, match="dataset pendulum/new-v0 exists already; choose another --output"):
        record_replay("pendulum/new-v0", "Pendulum-v1", 30)
    assert open_dataset("pendulum/new-v0").total_steps == 10
