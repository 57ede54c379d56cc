import copy
import functools
import warnings

import gymnasium as gym
import jax
import jax.numpy as jnp
import minari
import numpy as np
import pytest
from minari import DataCollector, StepDataCallback
from minari.storage.local import list_local_datasets

from smac_jax.agent import AgentSpec, Standardizer, act_seeds, create_agents
from smac_jax.data.describe import describe
from smac_jax.data.minari_dataset import (
    environment_spec,
    hash_episodes,
    load_offline_data,
    open_dataset,
    read_episodes,
)
from smac_jax.data.recipes import adroit_binary, pointmaze, recording, replay
from smac_jax.data.recipes.adroit_binary import clone_behavior, record_adroit_binary
from smac_jax.data.recipes.pointmaze import DECISION_STEPS, MAZES, record_pointmaze
from smac_jax.data.recipes.replay import record_replay
from smac_jax.data.recipes.rollout import record_rollout
from smac_jax.envs.make import task_spec
from smac_jax.envs.tasks import TASKS, find_task
from smac_jax.errors import InputError
from smac_jax.keys import episode_seed, stream_keys
from smac_jax.types import Batch

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

BINARY = TASKS["adroit_binary"]


@pytest.fixture
def minari_path(tmp_path, monkeypatch):
    """Empty folder that MINARI_DATASETS_PATH names during the test."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def episodes_of(dataset):
    return read_episodes(dataset, find_task(environment_spec(dataset)))


def content_hash(dataset):
    return hash_episodes(episodes_of(dataset))


def lengths(dataset):
    return [len(episode.rewards) for episode in episodes_of(dataset)]


def assert_repeats(dataset, env, seed=0, skipped=0):
    """The recipe's seeds and the stored actions give the stored observations and rewards again in an environment."""
    for number, episode in enumerate(list(dataset.iterate_episodes())[skipped:]):
        observations, rewards = [env.reset(seed=episode_seed(seed, "record", number))[0]], []
        for action in episode.actions:
            observation, reward, *_ = env.step(action)
            observations.append(observation)
            rewards.append(reward)
        for live, recorded in zip(
            jax.tree.leaves(jax.tree.map(lambda *rows: np.stack(rows), *observations)),
            jax.tree.leaves(episode.observations),
            strict=True,
        ):
            np.testing.assert_allclose(live, recorded, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(rewards, episode.rewards, rtol=1e-6)


@pytest.mark.parametrize("env_id", MAZES)
def test_maze_is_recorded_and_made_again_from_its_specification(minari_path, env_id):
    calls = []
    dataset = record_pointmaze("maze/new-v0", episodes=2, env_id=env_id, on_episode=lambda: calls.append(0))
    maze_map, horizon = MAZES[env_id]
    assert dataset.total_episodes == len(calls) == 2
    assert max(lengths(dataset)) <= horizon // DECISION_STEPS
    assert f"truncated after {horizon // DECISION_STEPS} actions" in dataset.storage.metadata["description"]
    env = open_dataset("maze/new-v0").recover_environment()
    assert env.spec.id == env_id
    assert env.unwrapped.continuing_task is False
    maze = env.unwrapped.maze
    assert maze.maze_map == maze_map
    goal = next((row, line.index("g")) for row, line in enumerate(maze_map) if "g" in line)
    for episode in dataset.iterate_episodes():
        assert tuple(maze.cell_xy_to_rowcol(episode.observations["desired_goal"][0])) == goal
    assert_repeats(dataset, env)


def test_maze_recording_is_a_function_of_its_seed(minari_path):
    first = record_pointmaze("maze/first-v0", episodes=2, seed=3)
    assert content_hash(record_pointmaze("maze/again-v0", episodes=2, seed=3)) == content_hash(first)
    assert content_hash(record_pointmaze("maze/other-v0", episodes=2, seed=4)) != content_hash(first)


def test_maze_recording_ends_with_the_episode_that_reaches_the_steps(minari_path):
    whole = lengths(record_pointmaze("maze/whole-v0", episodes=3))
    assert lengths(record_pointmaze("maze/cut-v0", episodes=3, steps=whole[0])) == whole[:1]
    assert lengths(record_pointmaze("maze/more-v0", episodes=3, steps=whole[0] + 1)) == whole[:2]


def test_unknown_maze_is_refused(minari_path):
    with pytest.raises(InputError, match="no maze PointMaze_Open-v3; use one of PointMaze_UMaze-v3, PointMaze_Medium"):
        record_pointmaze("maze/new-v0", env_id="PointMaze_Open-v3")
    assert not list(minari_path.iterdir())


def test_shortest_path_goes_round_the_walls():
    maze_map = MAZES["PointMaze_UMaze-v3"].maze_map
    path = pointmaze.shortest_path(maze_map, (1, 1), (3, 1))
    assert path == [(1, 1), (1, 2), (1, 3), (2, 3), (3, 3), (3, 2), (3, 1)]
    assert pointmaze.shortest_path(maze_map, (1, 1), (1, 1)) == [(1, 1)]


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


def all_actions(dataset):
    return np.concatenate([episode.actions for episode in episodes_of(dataset)])


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


@functools.cache
def opposite_agents():
    """Two agents for Pendulum, one that pushes to the left and one that pushes to the right."""
    unscaled = Standardizer(jnp.zeros(3), jnp.ones(3))
    state = create_agents(AgentSpec(3, 1, hidden_dims=(8,)), stream_keys([0, 1], "init"), unscaled)
    params = jax.tree.map(jnp.zeros_like, state.actor.params)
    params["params"]["mean"]["bias"] = jnp.array([[-0.5], [0.5]])
    params["params"]["log_std"]["bias"] = jnp.full((2, 1), -3.0)
    return state.replace(actor=state.actor.replace(params=params))


def short_pendulum(steps=10):
    spec = copy.deepcopy(gym.spec("Pendulum-v1"))
    spec.max_episode_steps = steps
    return spec


def roll_out(dataset_id, **options):
    spec = short_pendulum()
    return record_rollout(dataset_id, opposite_agents(), spec, find_task(spec), "two toys", **options)


def test_agents_take_turns_in_a_rollout(minari_path):
    calls = []
    dataset = roll_out("pendulum/new-v0", episodes=5, on_episode=lambda: calls.append(0))
    assert len(calls) == 5
    assert lengths(dataset) == [10] * 5
    means = [episode.actions.mean() for episode in episodes_of(dataset)]
    # tanh(0.5), in the environment's own units.
    np.testing.assert_allclose(means, [-0.924, 0.924, -0.924, 0.924, -0.924], atol=0.1)
    # Every action of every episode is a draw of its own.
    assert len(np.unique(np.abs(all_actions(dataset)))) == 50
    assert_repeats(dataset, gym.make("Pendulum-v1"))
    assert "Actions of two toys, sampled, in Pendulum-v1" in dataset.storage.metadata["description"]
    assert environment_spec(dataset).max_episode_steps == 10


def test_deterministic_policy_is_rolled_out_with_noise_on_its_mode(minari_path):
    # The toys' own spread, 0.1 before the tanh, must not show.
    noised = episodes_of(roll_out("pendulum/noised-v0", episodes=2, exploration_noise=0.01))
    for episode, sign in zip(noised, (-1.0, 1.0), strict=True):
        np.testing.assert_allclose(episode.actions / 2.0, sign * np.tanh(0.5), atol=0.05)
        assert 0.002 < np.std(episode.actions / 2.0) < 0.03


def test_rollout_in_a_task_of_successes_records_them_and_can_be_trained_on(minari_path):
    spec = task_spec(gym.spec("AdroitHandPenSparse-v1"), BINARY)
    unscaled = Standardizer(jnp.zeros(45), jnp.ones(45))
    agents = create_agents(AgentSpec(45, 24, hidden_dims=(8,)), stream_keys([0], "init"), unscaled)
    dataset = record_rollout("pen/rolled-v0", agents, spec, BINARY, "a toy", episodes=6)
    for episode in episodes_of(dataset):
        np.testing.assert_array_equal(episode.infos["success"], [False, *(episode.rewards > 0)])
    described = describe(dataset)
    assert not described.problems
    assert described.success == np.mean(described.scores) > 0
    data = load_offline_data(dataset, BINARY, BINARY.discount, BINARY.reward_scale, BINARY.reward_shift)
    assert np.sum(data.batch.masks == 0) == np.sum(described.scores)


def test_rollout_is_a_function_of_its_seed_and_stops_at_the_steps(minari_path):
    first = roll_out("pendulum/first-v0", episodes=3, seed=3)
    assert content_hash(roll_out("pendulum/again-v0", episodes=3, seed=3)) == content_hash(first)
    other = episodes_of(roll_out("pendulum/other-v0", episodes=3, seed=4))
    assert not np.array_equal(other[0].observations[0], episodes_of(first)[0].observations[0])
    assert not np.any(other[0].actions == episodes_of(first)[0].actions)
    assert lengths(roll_out("pendulum/cut-v0", episodes=3, seed=3, steps=11)) == [10, 10]


def test_sampling_policy_draws_from_the_agents_own_distribution():
    observation = np.array([0.3, -0.4, 2.0], np.float32)
    keys = jax.random.split(jax.random.key(0), 2)
    direct = np.asarray(act_seeds(opposite_agents(), np.tile(observation, (2, 1000, 1)), keys))
    policy = recording.sampling_policy(opposite_agents(), seed=0, horizon=500)
    for agent in range(2):
        # The episodes of one agent.
        sampled = [policy(observation, episode, step) for episode in (agent, agent + 2) for step in range(500)]
        assert np.mean(sampled) == pytest.approx(direct[agent].mean(), abs=0.01)
        assert np.std(sampled) == pytest.approx(direct[agent].std(), rel=0.1)


class SinglePrecisionStep(StepDataCallback):
    """Steps as in the human demonstrations: single precision, and a success flag for the reset as well."""

    def __call__(self, env, obs, info, **step):
        return super().__call__(env, obs.astype(np.float32), {"success": bool(info.get("success", False))}, **step)


def record_demonstrations(dataset_id, env_id="AdroitHandPenSparse-v1", seeds=(8, 0), record_infos=True):
    """Random hand movements of 20 steps; the pen of reset seed 8 succeeds on the way, that of 0 does not."""
    env = gym.make(env_id, max_episode_steps=20)
    space = gym.spaces.Box(-np.inf, np.inf, env.observation_space.shape, np.float32)
    recorder = DataCollector(env, SinglePrecisionStep, record_infos=record_infos, observation_space=space)
    for seed in seeds:
        recorder.reset(seed=seed)
        rng = np.random.default_rng(seed)
        for _ in range(20):
            recorder.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
    dataset = recorder.create_dataset(dataset_id)
    recorder.close()
    return dataset


def shrink_clone(patch):
    for name, value in {"_UPDATES": 10, "_HIDDEN_DIMS": (8,), "_BATCH_SIZE": 8, "_NOISED_COPIES": 2}.items():
        patch.setattr(adroit_binary, name, value)


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    """Demonstrations and what the recipe makes of them, twice with one seed and once with another."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        patch.setenv("MINARI_DATASETS_PATH", str(tmp_path_factory.mktemp("minari")))
        shrink_clone(patch)
        source = record_demonstrations("pen/human-v0")
        first = record_adroit_binary("pen/first-v0", source, episodes=6, seed=3)
        again = record_adroit_binary("pen/again-v0", source, episodes=6, seed=3)
        other = record_adroit_binary("pen/other-v0", source, episodes=1, seed=4)
    return source, first, again, other


def test_binary_data_begins_with_the_whole_demonstrations(binary):
    source, dataset, *_ = binary
    assert dataset.total_episodes == 2 + 6
    succeeded = np.flatnonzero(source[0].infos["success"])
    assert 0 < succeeded[0] < 20
    assert not source[1].infos["success"].any()
    for index in range(2):
        demonstration, copied = source[index], dataset[index]
        assert len(copied.rewards) == 20
        for name in ("observations", "actions", "rewards", "terminations", "truncations"):
            expected, values = getattr(demonstration, name), getattr(copied, name)
            assert values.dtype == expected.dtype
            assert values.tobytes() == expected.tobytes()
        np.testing.assert_array_equal(copied.infos["success"], demonstration.infos["success"])


def test_binary_rollouts_end_at_the_first_success_or_the_horizon(binary):
    rollouts = [binary[1][index] for index in range(2, 8)]
    assert any(episode.infos["success"].any() for episode in rollouts)
    for episode in rollouts:
        success = episode.infos["success"]
        assert len(success) == len(episode.observations) == len(episode.rewards) + 1
        assert episode.observations.dtype == np.float32
        assert not success[:-1].any()
        assert success[-1] or len(episode.rewards) == 100
        np.testing.assert_array_equal(episode.rewards, np.where(success[1:], 10.0, -0.1))


def test_binary_rollouts_repeat_in_the_recorded_environment(binary):
    dataset = binary[1]
    spec = environment_spec(dataset)
    assert (spec.id, spec.max_episode_steps) == ("AdroitHandPenSparse-v1", 100)
    env = dataset.recover_environment()
    assert env.spec.max_episode_steps == 100
    assert_repeats(dataset, env, seed=3, skipped=2)


def test_binary_data_can_be_trained_on(binary):
    data = load_offline_data(binary[1], BINARY, BINARY.discount, BINARY.reward_scale, BINARY.reward_shift)
    assert data.episodes == 8
    succeeded = [episode.infos["success"].any() for episode in binary[1].iterate_episodes()]
    # One end a success, demonstrations included.
    assert np.sum(data.batch.masks == 0) == np.sum(data.batch.rewards == 5.0) == sum(succeeded)


def test_binary_description_says_what_the_data_is_and_is_not(binary):
    metadata = binary[1].storage.metadata
    for part in ("The 2 human demonstrations of pen/human-v0", "100 steps at most", "AWAC", "is not their files"):
        assert part in metadata["description"]
    assert metadata["algorithm_name"] == "human demonstrations and roll-outs of their clone"
    assert any(line.startswith("mujoco==") for line in metadata["requirements"])


class PublicStep(StepDataCallback):
    """Steps as the conversion of D4RL's demonstrations to Minari records them."""

    def __call__(self, env, **step):
        data = super().__call__(env, **step)
        data["info"].setdefault("success", False)
        return data


def test_binary_takes_demonstrations_of_the_public_make(minari_path, monkeypatch):
    """Double precision, dense rewards and success in the infos, as in D4RL/pen/human-v2."""
    shrink_clone(monkeypatch)
    recorder = DataCollector(gym.make("AdroitHandPen-v1", max_episode_steps=200), PublicStep, record_infos=True)
    recorder.reset(seed=8)
    rng = np.random.default_rng(8)
    for _ in range(20):
        recorder.step(rng.uniform(-1, 1, recorder.action_space.shape))
    source = recorder.create_dataset("D4RL/pen/human-v2")
    dataset = record_adroit_binary("adroit/pen-binary-v0", source, episodes=2)
    data = load_offline_data(dataset, BINARY, BINARY.discount, BINARY.reward_scale, BINARY.reward_shift)
    assert data.episodes == 1 + 2
    assert np.sum(data.batch.rewards == 5.0) == sum(e.infos["success"].any() for e in dataset.iterate_episodes()) > 0


def test_binary_recording_is_a_function_of_its_seed(binary):
    _, first, again, other = binary
    assert content_hash(first) == content_hash(again)
    assert not np.array_equal(first[2].observations[0], other[2].observations[0])
    assert not np.any(first[2].actions[0] == other[2].actions[0])


def test_a_dataset_that_could_not_be_written_whole_is_not_there(binary, monkeypatch, minari_path):
    shrink_clone(monkeypatch)
    for error, raised in ((BlockingIOError("locked"), InputError), (KeyboardInterrupt(), KeyboardInterrupt)):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(DataCollector, "add_to_dataset", fail)
        message = "another process opened pen/part-v0 before it was whole" if raised is InputError else ""
        with pytest.raises(raised, match=message):
            record_adroit_binary("pen/part-v0", binary[0], episodes=1)
        assert "pen/part-v0" not in list_local_datasets()


@pytest.fixture
def untrainable(monkeypatch):
    monkeypatch.setattr(adroit_binary, "clone_behavior", lambda *_: pytest.fail("trained before the refusal"))


def assert_refused(path, source, message, dataset_id="pen/new-v0"):
    before = sorted(path.rglob("*"))
    with pytest.raises(InputError, match=message) as caught:
        record_adroit_binary(dataset_id, source, episodes=1)
    assert len(str(caught.value).splitlines()) == 1
    assert sorted(path.rglob("*")) == before


def test_binary_refuses_demonstrations_without_success(minari_path, untrainable):
    assert_refused(minari_path, record_demonstrations("pen/bare-v0", record_infos=False), "no infos/success")


def test_binary_refuses_success_that_the_rewards_contradict(minari_path, untrainable):
    source = record_demonstrations("pen/dense-v0", "AdroitHandPen-v1")
    record_demonstrations("pen/sparse-v0")
    metadata = minari_path / "pen/sparse-v0/data/metadata.json"
    (minari_path / "pen/dense-v0/data/metadata.json").write_text(metadata.read_text().replace("sparse-v0", "dense-v0"))
    assert_refused(minari_path, minari.load_dataset(source.spec.dataset_id), "contradicts infos/success")


def test_binary_refuses_data_of_other_families(minari_path, untrainable):
    source = record_pointmaze("maze/source-v0", episodes=1)
    assert_refused(minari_path, source, "PointMaze_UMaze-v3, which is not a task of adroit_binary")


def test_binary_refuses_data_of_no_known_family(minari_path, untrainable):
    source = record_demonstrations("pendulum/source-v0", "Pendulum-v1")
    assert_refused(minari_path, source, "Pendulum-v1")


def test_binary_refuses_existing_and_malformed_ids(minari_path, untrainable):
    source = record_demonstrations("pen/source-v0")
    assert_refused(minari_path, source, "exists already; choose another --output", "pen/source-v0")
    assert_refused(minari_path, source, "no Minari id", "pen/new")


def toy_demonstrations(size=256):
    """Actions that depend linearly on observations of large and unequal spread."""
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(size, 2)).astype(np.float32)
    actions = np.clip(unit @ np.array([[0.4], [-0.2]], np.float32), -0.9, 0.9)
    observations, rewards = unit * np.array([10.0, 0.1], np.float32), np.zeros(size, np.float32)
    columns = (observations, actions, rewards, rewards, observations, rewards)
    return Batch(*map(jnp.asarray, columns)), Standardizer(jnp.zeros(2), jnp.array([10.0, 0.1]))


def clone_mode(noise, monkeypatch):
    """Demonstrated actions of the toy, and the mode of its clone at the same observations."""
    for name, value in {"_UPDATES": 400, "_HIDDEN_DIMS": (32,), "_LEARNING_RATE": 1e-2, "_NOISED_COPIES": 8}.items():
        monkeypatch.setattr(adroit_binary, name, value)
    monkeypatch.setattr(adroit_binary, "_OBSERVATION_NOISE", noise)
    data, standardizer = toy_demonstrations()
    state = clone_behavior(data, standardizer, seed=0)
    return np.asarray(data.actions), np.asarray(act_seeds(state, data.observations[None])[0])


def test_clone_does_what_was_demonstrated(monkeypatch):
    actions, mode = clone_mode(adroit_binary._OBSERVATION_NOISE, monkeypatch)
    assert np.abs(mode - actions).mean() < 0.15 * np.abs(actions).mean()


def test_clone_learns_from_noised_observations_in_units_of_their_spread(monkeypatch):
    actions, mode = clone_mode(3.0, monkeypatch)
    # Regression on an input with noise of three times its spread has a tenth of the slope.
    slope = np.sum(mode * actions) / np.sum(actions**2)
    assert 0.0 < slope < 0.3
