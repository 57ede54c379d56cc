import contextlib

import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from test_envs import ScriptedEnv, kitchen_spec, play

from smac_jax.data.minari_dataset import environment_spec, open_dataset, read_episodes
from smac_jax.envs import conventions
from smac_jax.envs.episode import Episode
from smac_jax.envs.tasks import TASKS
from smac_jax.errors import InputError

ADROIT = EnvSpec("AdroitHandPenSparse-v1", entry_point="toy:Toy")


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


def test_kitchen_relabelling_without_listed_tasks_is_refused_or_works():
    spec = EnvSpec("FrankaKitchen-v1", entry_point="toy:Toy")
    with contextlib.suppress(InputError):
        assert conventions.newly_completed(episode_of([0.0, 1.0]), spec).rewards.tolist() == [0.0, 1.0]


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
