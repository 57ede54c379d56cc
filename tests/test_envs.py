import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from conftest import REPOSITORY
from gymnasium.envs.registration import EnvSpec

from smac_jax.data.describe import recorded_score
from smac_jax.data.minari_dataset import environment_spec, load_offline_data, open_dataset, read_episodes
from smac_jax.envs.make import make_env
from smac_jax.envs.tasks import GENERIC, TASKS, Task, find_task, get_task, normalized_score
from smac_jax.envs.wrappers import EpisodeOutcome
from smac_jax.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

POINTMAZE = EnvSpec(
    "PointMaze_UMaze-v3",
    entry_point="gymnasium_robotics.envs.maze.point_maze:PointMazeEnv",
    max_episode_steps=20,
    kwargs={
        "maze_map": [[1] * 5, [1, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1] * 5],
        "continuing_task": False,
    },
)
SHARED = {
    "adroit/pen-human-v0": "adroit_binary",
    "adroit/door-human-v0": "adroit_binary",
    "kitchen/complete-v0": "kitchen",
    "kitchen/mixed-v0": "kitchen",
    "antmaze/umaze-diverse-v0": "antmaze",
    "mujoco/halfcheetah-medium-replay-v0": "locomotion",
}


def kitchen_spec(**kwargs):
    return EnvSpec("FrankaKitchen-v1", entry_point="toy:Toy", kwargs={"tasks_to_complete": ["a", "b", "c"], **kwargs})


class ScriptedEnv(gym.Env):
    """Gives out scripted rewards and infos, and truncates at the end of the script."""

    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def __init__(self, rewards, infos=None):
        self.rewards, self.infos = rewards, infos or [{}] * len(rewards)

    def reset(self, *, seed=None, options=None):
        self.step_count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        reward, info = self.rewards[self.step_count], dict(self.infos[self.step_count])
        self.step_count += 1
        return np.zeros(1, np.float32), reward, False, self.step_count == len(self.rewards), info


class LiveListEnv(ScriptedEnv):
    """Hands out the same list of completed tasks at every step and empties it on reset, as FrankaKitchen does."""

    spec = kitchen_spec()

    def __init__(self, rewards):
        super().__init__(rewards)
        self.completed = []

    def reset(self, *, seed=None, options=None):
        self.completed.clear()
        return super().reset()

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        self.completed.extend(["task"] * int(reward))
        remaining = self.spec.kwargs["tasks_to_complete"][len(self.completed) :]
        info |= {"episode_task_completions": self.completed, "tasks_to_complete": remaining}
        return observation, reward, terminated, truncated, info


def play(env):
    """All steps of an episode."""
    env.reset(seed=0)
    steps = []
    while not steps or not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(np.zeros(1, np.float32)))
    return steps


def reset_seed(dataset, index):
    """Seed from which an episode was recorded."""
    episode_id = dataset.episode_indices[index]
    return int(next(iter(dataset.storage.get_episode_metadata([episode_id])))["seed"])


def replay(env, seed, actions):
    """Observations, rewards, terminations and outcome of the episode that the actions lead through, up to its end."""
    observations, steps = [env.reset(seed=seed)[0]], []
    for action in actions:
        steps.append(env.step(action))
        if steps[-1][2] or steps[-1][3]:
            break
    later, rewards, terminations, _, infos = zip(*steps, strict=True)
    return np.array([*observations, *later]), np.array(rewards), np.array(terminations), infos[-1]["outcome"]


def assert_live_agrees(relabelled, task, spec, seed):
    """The live environment repeats a relabelled episode up to the horizon; gives what it was up to there."""
    observations, rewards, terminations, outcome = replay(make_env(spec, task), seed, relabelled.actions)
    length = min(len(relabelled.rewards), task.horizon(spec))
    assert len(rewards) == outcome["length"] == length
    seen = relabelled.cut(length, terminated=bool(relabelled.terminations[length - 1]))
    np.testing.assert_array_equal(rewards, seen.rewards)
    np.testing.assert_array_equal(terminations, seen.terminations)
    np.testing.assert_allclose(observations, seen.observations, rtol=0, atol=1e-4)
    assert outcome["return"] == seen.rewards.sum()
    assert outcome["score"] == recorded_score(seen, task, spec)
    return seen


def test_success_score_is_whether_the_episode_ever_succeeded():
    infos = [{"success": False}, {"success": True}, {"success": False}]
    steps = play(EpisodeOutcome(ScriptedEnv([1.0, 2.0, 4.0], infos), "success", "Toy-v0"))
    assert ["outcome" in info for *_, info in steps] == [False, False, True]
    assert steps[-1][4]["outcome"] == {"score": 1.0, "return": 7.0, "success": 1.0, "length": 3}
    failed = play(EpisodeOutcome(ScriptedEnv([1.0], [{"success": False}]), "success", "Toy-v0"))
    assert failed[-1][4]["outcome"]["score"] == 0.0


def test_completion_score_is_the_share_of_tasks_and_starts_anew():
    inner = LiveListEnv([1.0, 0.0, 1.0])
    env = EpisodeOutcome(inner, "completions", "FrankaKitchen-v1")
    first = play(env)[-1][4]["outcome"]
    inner.rewards = [1.0, 2.0]
    second = play(env)[-1][4]["outcome"]
    assert first["score"] == pytest.approx(2 / 3)
    assert first["success"] == 0.0
    assert second == {"score": 1.0, "return": 3.0, "success": 1.0, "length": 2}


def test_return_score_is_normalised_by_environment():
    env = EpisodeOutcome(ScriptedEnv([5000.0, 5000.0]), "normalized_return", "HalfCheetah-v5")
    outcome = play(env)[-1][4]["outcome"]
    assert outcome["score"] == pytest.approx((10000.0 + 280.178953) / (12135.0 + 280.178953))
    assert np.isnan(outcome["success"])
    assert normalized_score(-280.178953, "HalfCheetah-v5") == 0.0
    assert normalized_score(12135.0, "HalfCheetah-v4") == 1.0
    assert normalized_score(17.0, "Unheard-v0") == 17.0


@pytest.mark.parametrize(
    ("name", "env_id", "remedy"),
    [
        ("kitchen", "PointMaze_UMaze-v3", "use the task pointmaze"),
        ("pointmaze", "AntMaze_UMaze-v5", "use the task antmaze"),
        ("walking", "Walker2d-v5", "use one of kitchen, adroit_binary, locomotion"),
    ],
)
def test_wrong_task_names_the_right_one(name, env_id, remedy):
    with pytest.raises(InputError) as caught:
        get_task(name, EnvSpec(env_id, entry_point="toy:Toy"))
    assert remedy in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("env_id", "name"),
    [
        ("FrankaKitchen-v1", "kitchen"),
        ("AdroitHandDoorSparse-v1", "adroit_binary"),
        ("HalfCheetah-v5", "locomotion"),
        ("Ant-v5", "locomotion"),
        ("AntMaze_UMaze-v5", "antmaze"),
        ("PointMaze_UMaze-v3", "pointmaze"),
        ("CartPole-v1", "generic"),
    ],
)
def test_family_is_found_from_the_environment_and_taken_without_notice(env_id, name, caplog):
    spec = EnvSpec(env_id, entry_point="toy:Toy")
    assert find_task(spec) is TASKS[name]
    assert get_task(name, spec) is TASKS[name]
    assert not caplog.records


def test_environment_of_no_family_is_generic_with_a_notice(caplog):
    assert get_task("locomotion", gym.spec("CartPole-v1")) is GENERIC
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "CartPole-v1 belongs to no known family" in record.message
    assert "budgets are those of locomotion" in record.message
    assert "score is the raw return" in record.message


def test_generic_environment_is_as_recorded_and_scored_by_its_return():
    spec = gym.spec("Pendulum-v1")
    env, raw = make_env(spec, GENERIC), gym.make("Pendulum-v1")
    actions = np.linspace(-1, 1, spec.max_episode_steps, dtype=np.float32)[:, None]
    raw.reset(seed=4)
    expected = [raw.step(2.0 * action) for action in actions]
    observations, rewards, terminations, outcome = replay(env, 4, actions)
    np.testing.assert_array_equal(observations[1:], [step[0] for step in expected])
    np.testing.assert_array_equal(rewards, [step[1] for step in expected])
    assert not terminations.any()
    assert outcome["score"] == outcome["return"] == sum(rewards.tolist()) < -100
    assert outcome["length"] == len(actions)


def test_raw_return_is_not_normalised_where_references_are_known():
    outcome = play(EpisodeOutcome(ScriptedEnv([5000.0]), GENERIC.score, "HalfCheetah-v5"))[-1][4]["outcome"]
    assert outcome["score"] == 5000.0


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_every_task_says_what_its_score_and_its_convention_are(task):
    assert task.score_source
    assert task.convention


def test_horizon_comes_from_the_table_or_the_recorded_specification():
    assert TASKS["adroit_binary"].horizon(EnvSpec("AdroitHandPenSparse-v1", max_episode_steps=400)) == 100
    assert TASKS["adroit_binary"].horizon(EnvSpec("AdroitHandDoorSparse-v1", max_episode_steps=400)) == 200
    assert TASKS["pointmaze"].horizon(POINTMAZE) == 20
    with pytest.raises(InputError, match="no time limit; record"):
        TASKS["pointmaze"].horizon(dataclasses.replace(POINTMAZE, max_episode_steps=None))


def test_pointmaze_observation_is_state_then_goal():
    env = make_env(POINTMAZE, TASKS["pointmaze"])
    observation, _ = env.reset(seed=3)
    inner = env.unwrapped
    assert observation.dtype == np.float32
    assert env.observation_space.contains(observation)
    np.testing.assert_allclose(observation, [*inner.data.qpos, *inner.data.qvel, *inner.goal], rtol=1e-6)
    np.testing.assert_array_equal(env.action_space.high, 1.0)
    np.testing.assert_array_equal(env.action_space.low, -1.0)
    assert POINTMAZE.disable_env_checker is False, "the recorded specification must not be changed"


def test_actions_are_rescaled_to_the_environments_bounds():
    task = Task("pendulum", ("Pendulum",), "normalized_return")
    env, raw = make_env(gym.spec("Pendulum-v1"), task), gym.make("Pendulum-v1")
    env.reset(seed=1), raw.reset(seed=1)
    np.testing.assert_array_equal(env.action_space.high, 1.0)
    for action in (-1.0, 0.25, 1.0):
        scaled, expected = env.step(np.array([action], np.float32)), raw.step(np.array([2.0 * action], np.float32))
        np.testing.assert_array_equal(scaled[0], expected[0])


def test_environment_that_cannot_be_made_is_refused():
    with pytest.raises(InputError, match=r"cannot make the environment PointMaze-v9: .*; install") as caught:
        make_env(EnvSpec("PointMaze-v9", entry_point="no_such_module:Env", max_episode_steps=5), TASKS["pointmaze"])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("dataset_id", SHARED)
def test_shared_dataset_loads_with_its_task(shared_minari, dataset_id):
    dataset = open_dataset(dataset_id)
    spec = environment_spec(dataset)
    task = get_task(SHARED[dataset_id], spec)
    data = load_offline_data(dataset, task, 0.99, task.reward_scale, task.reward_shift)
    assert data.episodes == dataset.total_episodes
    assert 0 < len(data.batch.rewards) <= dataset.total_steps
    assert len(data.batch.observations) == len(data.batch.rewards) == len(data.batch.masks)
    assert np.abs(data.batch.actions).max() <= 1.0


@pytest.mark.parametrize(
    ("dataset_id", "indices"),
    [
        ("kitchen/complete-v0", (1, 13)),
        # Both go on after the horizon, and the first completes one more task there.
        ("kitchen/mixed-v0", (4, 6)),
        # The last never reaches the goal.
        ("antmaze/umaze-diverse-v0", (0, 2, 24, 22)),
    ],
)
def test_live_environment_repeats_recorded_episodes(shared_minari, monkeypatch, dataset_id, indices):
    # The recorded model of the ant is relative to the project's root.
    monkeypatch.chdir(REPOSITORY)
    dataset = open_dataset(dataset_id)
    spec = environment_spec(dataset)
    task = find_task(spec)
    recorded = read_episodes(dataset, task)
    scores = []
    for index in indices:
        seen = assert_live_agrees(task.relabel(recorded[index], spec), task, spec, reset_seed(dataset, index))
        if dataset_id.startswith("antmaze"):
            np.testing.assert_array_equal(seen.terminations, seen.rewards == 1.0)
        scores.append(recorded_score(seen, task, spec))
    assert (
        scores
        == {
            "kitchen/complete-v0": [1.0, 1.0],
            "kitchen/mixed-v0": [0.5, 0.75],
            "antmaze/umaze-diverse-v0": [1.0, 1.0, 1.0, 0.0],
        }[dataset_id]
    )


def test_antmaze_ends_at_the_goal_and_observes_the_position_first(shared_minari, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    dataset, task = open_dataset("antmaze/umaze-diverse-v0"), TASKS["antmaze"]
    spec = environment_spec(dataset)
    # As the public antmaze datasets are recorded.
    endless = dataclasses.replace(spec, kwargs={**spec.kwargs, "continuing_task": True})
    seen = assert_live_agrees(read_episodes(dataset, task)[2], task, endless, reset_seed(dataset, 2))
    assert seen.terminations[-1]
    recorded = dataset[2].observations
    np.testing.assert_array_equal(seen.observations[:, :2], recorded["achieved_goal"])
    np.testing.assert_array_equal(seen.observations[:, -2:], recorded["desired_goal"])


def door_is_open(observations):
    return observations[:, 28] >= 1.35


def pen_is_in_place(observations):
    distance = np.linalg.norm(observations[:, 39:42], axis=-1)
    similarity = np.sum(observations[:, 33:36] * observations[:, 36:39], axis=-1)
    return (distance < 0.075) & (similarity > 0.95)


@pytest.mark.parametrize(
    ("dataset_id", "rule"), [("adroit/door-human-v0", door_is_open), ("adroit/pen-human-v0", pen_is_in_place)]
)
def test_recorded_success_follows_the_environments_rule(shared_minari, dataset_id, rule):
    successes = []
    for episode in read_episodes(open_dataset(dataset_id), TASKS["adroit_binary"]):
        success = np.asarray(episode.infos["success"])
        np.testing.assert_array_equal(success, rule(episode.observations.astype(np.float64)))
        successes.append(success.any())
    assert 0 < sum(successes) < len(successes)


def test_recorded_halfcheetah_score_is_the_published_formula(shared_minari):
    dataset = open_dataset("mujoco/halfcheetah-medium-replay-v0")
    spec, task = environment_spec(dataset), TASKS["locomotion"]
    for recorded in read_episodes(dataset, task)[::33]:
        expected = (recorded.rewards.sum() + 280.178953) / (12135.0 + 280.178953)
        assert recorded_score(task.relabel(recorded, spec), task, spec) == pytest.approx(expected, rel=1e-12)
