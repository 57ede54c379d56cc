import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from smac_jax.data.minari_dataset import environment_spec, load_offline_data, open_dataset
from smac_jax.envs.make import make_env
from smac_jax.envs.tasks import TASKS, Task, get_task, normalized_score
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
        ("locomotion", "CartPole-v1", "locomotion covers HalfCheetah"),
        ("walking", "Walker2d-v5", "use one of kitchen, adroit_binary, locomotion"),
    ],
)
def test_wrong_task_names_the_right_one(name, env_id, remedy):
    with pytest.raises(InputError) as caught:
        get_task(name, EnvSpec(env_id, entry_point="toy:Toy"))
    assert remedy in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


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
