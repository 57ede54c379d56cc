import copy
import dataclasses

import gymnasium as gym
import minari
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from test_collector import maze_spec
from test_envs import ScriptedEnv, assert_live_agrees, kitchen_spec, play, reset_seed

from smac_jax.data.minari_dataset import environment_spec, open_dataset, read_episodes
from smac_jax.envs import conventions
from smac_jax.envs.episode import Episode
from smac_jax.envs.tasks import TASKS
from smac_jax.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

ADROIT = EnvSpec("AdroitHandPenSparse-v1", entry_point="toy:Toy")
SPARSE_ADROIT = dataclasses.replace(ADROIT, kwargs={"reward_type": "sparse"})
MAZE = EnvSpec("PointMaze_UMaze-v3", entry_point="toy:Toy")


def episode_of(rewards, **infos):
    steps = len(rewards)
    last = np.arange(steps) == steps - 1
    return Episode(
        observations=np.arange(steps + 1, dtype=np.float32)[:, None],
        actions=np.arange(steps, dtype=np.float32)[:, None],
        rewards=np.array(rewards, np.float64),
        terminations=np.zeros(steps, bool),
        truncations=last,
        infos={name: np.array(values) for name, values in infos.items()},
    )


def terminated(episode):
    return episode._replace(terminations=episode.truncations, truncations=episode.terminations)


def record(spec, episodes, dataset_id):
    """Record (seed, actions) episodes in the environment as it is; their dataset."""
    env = minari.DataCollector(gym.make(spec), record_infos=False)
    for seed, actions in episodes:
        env.reset(seed=seed)
        for action in actions:
            env.step(action)
    env.create_dataset(dataset_id)
    env.close()
    return open_dataset(dataset_id)


def test_success_relabelling_ends_at_the_first_success():
    recorded = episode_of([-0.1, -0.1, 10.0, -0.1, 10.0], success=[False, False, False, True, False, True])
    relabelled = conventions.success_minus_one(recorded, ADROIT)
    assert relabelled.rewards.tolist() == [-1.0, -1.0, 0.0]
    assert relabelled.terminations.tolist() == [False, False, True]
    assert not relabelled.truncations.any()
    assert relabelled.observations[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert relabelled.actions[:, 0].tolist() == [0.0, 1.0, 2.0]


def test_late_success_is_kept_and_failure_is_a_time_out():
    steps = TASKS["adroit_binary"].horizon(ADROIT) + 50
    late = conventions.success_minus_one(episode_of([0.0] * steps, success=[False] * steps + [True]), ADROIT)
    assert len(late.rewards) == steps
    assert late.terminations[-1]
    # A success at the reset, before any action, belongs to no transition.
    failed = conventions.success_minus_one(episode_of([9.0, 9.0], success=[True, False, False]), ADROIT)
    assert failed.rewards.tolist() == [-1.0, -1.0]
    assert failed.truncations.tolist() == [False, True]
    assert not failed.terminations.any()


def test_success_relabelling_needs_recorded_successes():
    with pytest.raises(InputError, match=r"no infos/success.*record_infos=True"):
        conventions.success_minus_one(episode_of([0.0]), ADROIT)


def test_success_relabelling_refuses_infos_of_another_length():
    with pytest.raises(InputError):
        conventions.success_minus_one(episode_of([0.0, 0.0], success=[False, True]), ADROIT)


@pytest.mark.parametrize(
    ("rewards", "success", "step"),
    [([-0.1, 10.0, 10.0], [False, False, True], 1), ([-0.1, -0.1, 10.0], [False, True, True], 1)],
)
def test_success_that_its_sparse_rewards_contradict_is_refused(rewards, success, step):
    with pytest.raises(InputError, match=rf"at step {step} contradicts infos/success=.*record both anew"):
        conventions.success_minus_one(episode_of(rewards, success=[False, *success]), SPARSE_ADROIT)


def test_success_that_its_sparse_rewards_confirm_is_accepted():
    recorded = episode_of([-0.1, 10.0, 10.0], success=[False, False, True, True])
    assert conventions.success_minus_one(recorded, SPARSE_ADROIT).rewards.tolist() == [-1.0, 0.0]


@pytest.mark.parametrize("kwargs", [{}, {"reward_type": "dense"}])
def test_dense_rewards_need_not_agree_with_success(kwargs):
    recorded = episode_of([3.0, -2.0, 7.0], success=[False, False, True, True])
    relabelled = conventions.success_minus_one(recorded, dataclasses.replace(ADROIT, kwargs=kwargs))
    assert relabelled.rewards.tolist() == [-1.0, 0.0]


@pytest.mark.parametrize("reset", [False, True])
def test_hand_that_terminates_without_success_is_refused(reset):
    # A mask of 0 after rewards of -1 would make failing the best that a critic knows of.
    failed = episode_of([-0.1, -0.1], success=[reset, False, False])
    with pytest.raises(InputError, match=r"terminates without success, where AdroitHandPen.*mark its end as a trunc"):
        conventions.success_minus_one(terminated(failed), ADROIT)
    assert not conventions.success_minus_one(failed, ADROIT).terminations.any()


@pytest.mark.parametrize("success", [[False, True], [True, False]], ids=["at the end", "before"])
def test_hand_that_terminates_after_success_is_accepted(success):
    relabelled = conventions.success_minus_one(terminated(episode_of([0.0, 0.0], success=[False, *success])), ADROIT)
    assert relabelled.terminations[-1]
    assert relabelled.rewards[-1] == 0.0


def test_live_success_agrees_with_the_relabelling():
    success = [False, False, True, False]
    env = conventions.SuccessMinusOne(ScriptedEnv([5.0] * 4, [{"success": value} for value in success]))
    steps = play(env)
    relabelled = conventions.success_minus_one(episode_of([5.0] * 4, success=[False, *success]), ADROIT)
    assert [step[1] for step in steps] == relabelled.rewards.tolist() == [-1.0, -1.0, 0.0]
    assert [step[2] for step in steps] == relabelled.terminations.tolist()


@pytest.mark.parametrize(
    ("kwargs", "rewards", "expected", "terminated"),
    [
        ({}, [0.0, 1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 2.0], True),
        ({}, [0.0, 1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0, 0.0], False),
        # Tasks done at each step, where one is undone and done again.
        ({"remove_task_when_completed": False}, [0.0, 1.0, 0.0, 1.0, 3.0, 3.0], [0.0, 1.0, 0.0, 0.0, 2.0], True),
        ({"remove_task_when_completed": False}, [1.0, 1.0, 2.0, 1.0], [1.0, 0.0, 1.0, 0.0], False),
    ],
)
def test_kitchen_relabelling_pays_each_task_once(kwargs, rewards, expected, terminated):
    relabelled = conventions.newly_completed(episode_of(rewards), kitchen_spec(**kwargs))
    assert relabelled.rewards.tolist() == expected
    assert relabelled.terminations[-1] == terminated
    assert relabelled.truncations[-1] == (not terminated)
    assert not relabelled.terminations[:-1].any()
    assert len(relabelled.observations) == len(expected) + 1


def test_kitchen_relabelling_without_listed_tasks_is_refused():
    with pytest.raises(InputError, match="recorded without tasks_to_complete; record it with the target tasks named"):
        conventions.newly_completed(episode_of([0.0, 1.0]), EnvSpec("FrankaKitchen-v1", entry_point="toy:Toy"))


@pytest.mark.parametrize(
    ("kwargs", "too_many"),
    [
        ({}, [1.0, 1.0, 2.0]),
        # The number of tasks done at each step, which the specification does not speak of.
        ({"remove_task_when_completed": True}, [1.0, 1.0, 1.0, 2.0]),
        ({"remove_task_when_completed": False}, [1.0, 4.0]),
    ],
)
def test_kitchen_rewards_that_count_no_tasks_are_refused(kwargs, too_many):
    convention = f"remove_task_when_completed={kwargs.get('remove_task_when_completed', True)}"
    for rewards in (too_many, [1.0, -1.0, 1.0], [0.0, 0.5, 0.5]):
        with pytest.raises(InputError, match=convention):
            conventions.newly_completed(episode_of(rewards), kitchen_spec(**kwargs))


@pytest.mark.parametrize("kwargs", [{}, {"remove_task_when_completed": False}])
def test_kitchen_that_terminates_before_all_tasks_are_done_is_refused(kwargs):
    with pytest.raises(InputError, match="terminates without success, where FrankaKitchen-v1 goes on"):
        conventions.newly_completed(terminated(episode_of([0.0, 1.0, 0.0])), kitchen_spec(**kwargs))


def test_kitchen_that_terminates_once_all_tasks_are_done_is_accepted():
    relabelled = conventions.newly_completed(terminated(episode_of([0.0, 1.0, 2.0])), kitchen_spec())
    assert relabelled.terminations.tolist() == [False, False, True]


def test_live_kitchen_rewards_of_complete_are_kept(shared_minari):
    dataset = open_dataset("kitchen/complete-v0")
    spec = environment_spec(dataset)
    for recorded in read_episodes(dataset, TASKS["kitchen"]):
        relabelled = TASKS["kitchen"].relabel(recorded, spec)
        np.testing.assert_array_equal(relabelled.rewards, recorded.rewards)
        np.testing.assert_array_equal(relabelled.terminations, recorded.terminations)


def test_pen_ends_at_the_first_success(shared_minari):
    dataset = open_dataset("adroit/pen-human-v0")
    spec, task = environment_spec(dataset), TASKS["adroit_binary"]
    succeeded = 0
    for recorded in read_episodes(dataset, task):
        relabelled = task.relabel(recorded, spec)
        success = recorded.infos["success"][1:]
        steps = int(np.argmax(success)) + 1 if success.any() else len(success)
        np.testing.assert_array_equal(relabelled.rewards, np.where(success[:steps], 0.0, -1.0))
        assert relabelled.terminations.sum() == relabelled.terminations[-1] == success.any()
        succeeded += success.any()
    assert 0 < succeeded < dataset.total_episodes


# In the public D4RL/kitchen datasets a step pays the number of tasks that are done, and nothing terminates.
@pytest.mark.parametrize(
    ("dataset_id", "index", "completions"),
    [
        ("kitchen/complete-v0", 13, 4),
        # The microwave falls shut before the last task is done.
        ("kitchen/mixed-v0", 6, 3),
    ],
)
def test_kitchen_counting_tasks_that_are_done_agrees_with_the_live_environment(
    shared_minari, monkeypatch, tmp_path, dataset_id, index, completions
):
    task, shared = TASKS["kitchen"], open_dataset(dataset_id)
    actions, seed = shared[index].actions, reset_seed(shared, index)
    actions = np.concatenate([actions, np.repeat(actions[-1:], 20, axis=0)])
    spec = copy.deepcopy(environment_spec(shared))
    spec.max_episode_steps = len(actions)
    spec.kwargs |= {"remove_task_when_completed": False, "terminate_on_tasks_completed": False}
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = record(spec, [(seed, actions)], "kitchen/counted-v0")
    (recorded,) = read_episodes(dataset, task)
    assert len(recorded.rewards) == len(actions)
    assert not recorded.terminations.any()
    assert recorded.rewards.sum() > 2 * completions
    spec = environment_spec(dataset)
    seen = assert_live_agrees(task.relabel(recorded, spec), task, spec, seed)
    assert seen.rewards.sum() == completions


def test_maze_relabelling_ends_at_the_first_arrival():
    goes_on = episode_of([0.0, 0.0, 1.0, 0.0, 1.0])
    for recorded in (goes_on, episode_of([0.0, 0.0, 1.0]), terminated(episode_of([0.0, 0.0, 1.0]))):
        relabelled = conventions.ends_at_goal(recorded, MAZE)
        assert relabelled.rewards.tolist() == [0.0, 0.0, 1.0]
        assert relabelled.terminations.tolist() == [False, False, True]
        assert not relabelled.truncations.any()
        assert relabelled.observations[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]
        assert relabelled.actions[:, 0].tolist() == [0.0, 1.0, 2.0]


def test_maze_episode_that_never_arrives_is_a_time_out():
    relabelled = conventions.ends_at_goal(episode_of([0.0, 0.0]), MAZE)
    assert relabelled.rewards.tolist() == [0.0, 0.0]
    assert relabelled.truncations.tolist() == [False, True]
    assert not relabelled.terminations.any()


@pytest.mark.parametrize("reward", [0.5, -1.0, 2.0])
def test_rewards_of_no_sparse_maze_are_refused(reward):
    with pytest.raises(
        InputError, match=rf'the reward {reward:g} is not.*PointMaze_UMaze-v3 with reward_type="sparse"'
    ):
        conventions.ends_at_goal(episode_of([0.0, reward, 1.0]), MAZE)


def test_maze_termination_away_from_the_goal_is_refused():
    with pytest.raises(InputError, match="terminates without the goal's reward of 1"):
        conventions.ends_at_goal(terminated(episode_of([0.0, 0.0])), MAZE)


def test_maze_recorded_without_an_end_agrees_with_the_live_environment(minari_path):
    task, spec = TASKS["pointmaze"], maze_spec(40)
    spec.kwargs["continuing_task"] = True
    right = np.repeat(np.array([[1.0, 0.0]], np.float32), 40, axis=0)
    dataset = record(spec, [(3, right), (4, -right)], "pointmaze/endless-v0")
    arrived, away = read_episodes(dataset, task)
    assert arrived.rewards.sum() > 1
    assert not arrived.terminations.any()
    spec = environment_spec(dataset)
    seen = assert_live_agrees(task.relabel(arrived, spec), task, spec, 3)
    assert len(seen.rewards) < len(arrived.rewards)
    assert seen.rewards[-1] == 1.0
    assert seen.terminations[-1]
    assert not assert_live_agrees(task.relabel(away, spec), task, spec, 4).terminations.any()
