import dataclasses

import gymnasium as gym
import h5py
import jax
import minari
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from minari.data_collector import EpisodeBuffer
from minari.dataset.episode_data import EpisodeData

from smac_jax.data.minari_dataset import (
    hash_episodes,
    load_offline_data,
    make_standardizer,
    open_dataset,
    read_episode,
    read_episodes,
)
from smac_jax.data.returns import failure_value, look_ahead, monte_carlo_returns
from smac_jax.envs.episode import Episode, flat_space, flatten_observation
from smac_jax.envs.tasks import TASKS, Task
from smac_jax.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

ACTIONS = spaces.Box(0.0, 4.0, (1,), np.float32)
TOY_TASK = Task(name="toy", env_prefixes=("Toy",), score="success", observation_keys=("body", "arm"))


class ToyEnv(gym.Env):
    observation_space = spaces.Dict(
        {"arm": spaces.Box(-np.inf, np.inf, (1,)), "body": spaces.Box(-np.inf, np.inf, (2,))}
    )
    action_space = ACTIONS
    spec = EnvSpec("Toy-v0", entry_point="toy:ToyEnv", max_episode_steps=3)


def recorded_episode(first, actions, rewards, terminated):
    """An episode whose body is at first, first + 1, ...; the other body coordinate never moves."""
    position = first + np.arange(len(rewards) + 1, dtype=np.float64)
    last = np.arange(len(rewards)) == len(rewards) - 1
    return EpisodeBuffer(
        observations={"arm": -position[:, None], "body": np.stack([position, np.full_like(position, 7.0)], axis=1)},
        actions=np.array(actions, np.float32)[:, None],
        rewards=np.array(rewards, np.float64),
        terminations=last & terminated,
        truncations=last & (not terminated),
    )


def toy_episodes():
    return [
        recorded_episode(0.0, [0.0, 2.0, 4.0], [0.0, 0.0, 1.0], terminated=True),
        recorded_episode(100.0, [1.0, 3.0], [1.0, 2.0], terminated=False),
    ]


@pytest.fixture
def create(minari_path):
    """Function that writes episodes to a Minari dataset below the test's own folder."""

    def write(episodes, name="toy/toy-v0", env=None, **options):
        return minari.create_dataset_from_buffers(name, episodes, env=env or ToyEnv(), **options)

    return write


def load(dataset, scale=1.0, shift=0.0):
    return load_offline_data(dataset, TOY_TASK, discount=0.5, reward_scale=scale, reward_shift=shift)


def one_line(caught):
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_flattening_follows_the_keys_and_is_alphabetical_below_them():
    observation = {"b": {"y": np.full((5, 1), 3.0), "x": np.full((5, 2), 2.0)}, "a": np.full((5, 1), 1.0)}
    assert flatten_observation(observation)[0].tolist() == [1.0, 2.0, 2.0, 3.0]
    by_keys = flatten_observation(observation, ("b", "a"))
    assert by_keys[0].tolist() == [2.0, 2.0, 3.0, 1.0]
    assert by_keys.shape == (5, 4)
    assert by_keys.dtype == np.float32
    assert flatten_observation(observation, ("a",)).shape == (5, 1)


def test_flat_space_orders_bounds_like_the_observations():
    space = spaces.Dict(
        {"b": spaces.Dict({"y": spaces.Box(-3, 3, (1,)), "x": spaces.Box(-2, 2, (2,))}), "a": spaces.Box(-1, 1, (1,))}
    )
    assert flat_space(space).high.tolist() == [1.0, 2.0, 2.0, 3.0]
    assert flat_space(space, ("b", "a")).low.tolist() == [-2.0, -2.0, -3.0, -1.0]
    with pytest.raises(TypeError, match="vectors"):
        flat_space(spaces.Box(0, 1, (2, 2)))
    with pytest.raises(KeyError):
        flat_space(space, ("nothing",))


def test_dataset_becomes_transitions(create):
    data = load(create(toy_episodes()), scale=10.0, shift=-1.0)
    batch = data.batch
    assert data.episodes == 2
    np.testing.assert_allclose(batch.observations, [[p, 7.0, -p] for p in (0, 1, 2, 100, 101)])
    # The last transition of an episode leads to its own last observation, not to the next episode's first.
    np.testing.assert_allclose(batch.next_observations, [[p, 7.0, -p] for p in (1, 2, 3, 101, 102)])
    np.testing.assert_allclose(batch.actions[:, 0], [-1.0, 0.0, 1.0, -0.5, 0.5])
    np.testing.assert_allclose(batch.rewards, [-1.0, -1.0, 9.0, 9.0, 19.0])
    # The first episode terminated, the second ran out of time.
    np.testing.assert_array_equal(batch.masks, [1.0, 1.0, 0.0, 1.0, 1.0])
    np.testing.assert_allclose(batch.mc_returns, [0.75, 3.5, 9.0, 18.5, 19.0])
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(batch)} == {"float32"}
    assert batch.lookahead is None
    assert batch.later_actions is None


def test_standardizer_scales_all_but_nearly_constant_dimensions(create):
    standardizer = load(create(toy_episodes())).standardizer
    positions = np.array([0.0, 1.0, 2.0, 100.0, 101.0])
    np.testing.assert_allclose(standardizer.mean, [positions.mean(), 7.0, -positions.mean()], rtol=1e-6)
    np.testing.assert_allclose(standardizer.std, [positions.std(), 1.0, positions.std()], rtol=1e-6)
    nearly_constant = make_standardizer(np.array([[5.0], [5.0002]], np.float32))
    np.testing.assert_allclose(nearly_constant(np.array([5.0001])), [0.0], atol=1e-5)
    assert nearly_constant.std.tolist() == [1.0]


def test_monte_carlo_returns_discount_towards_the_end():
    np.testing.assert_allclose(monte_carlo_returns(np.array([1.0, 0.0, 4.0]), 0.5), [2.0, 2.0, 4.0])


def test_what_follows_an_episode_is_discounted_too():
    np.testing.assert_allclose(monte_carlo_returns(np.array([1.0, 0.0]), 0.5, tail=8.0), [3.0, 4.0])


@pytest.mark.parametrize(
    ("task", "value"),
    [
        ("adroit_binary", -500.0),
        ("antmaze", -500.0),
        ("pointmaze", -100.0),
        ("kitchen", 0.0),
        ("locomotion", 0.0),
        ("generic", 0.0),
    ],
)
def test_failing_for_ever_is_worth_the_failure_reward_at_every_step(task, value):
    assert failure_value(TASKS[task], 0.99, TASKS[task].reward_scale, TASKS[task].reward_shift) == pytest.approx(value)


def test_looking_ahead_ends_with_the_episode(create):
    data = load_offline_data(create(toy_episodes()), TOY_TASK, 0.5, reward_scale=10.0, reward_shift=-1.0, lookahead=2)
    ahead = data.batch.lookahead
    np.testing.assert_allclose(ahead.rewards, [-1.0 - 0.5, -1.0 + 0.5 * 9.0, 9.0, 9.0 + 0.5 * 19.0, 19.0])
    # The first episode terminated, the second ran out of time.
    np.testing.assert_allclose(ahead.discounts, [0.25, 0.0, 0.0, 0.25, 0.5])
    np.testing.assert_allclose(ahead.observations, [[p, 7.0, -p] for p in (2, 3, 3, 102, 102)])
    assert {str(leaf.dtype) for leaf in ahead} == {"float32"}


def test_later_actions_are_of_the_same_episode(create):
    data = load_offline_data(create(toy_episodes()), TOY_TASK, 0.5, reward_scale=10.0, reward_shift=-1.0, lead=2)
    np.testing.assert_allclose(data.batch.actions[:, 0], [-1.0, 0.0, 1.0, -0.5, 0.5])
    # Episodes of three and two steps: where two more were not recorded it is the last.
    np.testing.assert_allclose(data.batch.later_actions[:, 0], [1.0, 1.0, 1.0, 0.5, 0.5])
    assert str(data.batch.later_actions.dtype) == "float32"


@pytest.mark.parametrize("terminated", [False, True])
def test_looking_ahead_as_far_as_the_episode_gives_its_returns(terminated):
    rewards, observations = np.array([1.0, 0.0, 4.0]), np.arange(4.0)[:, None]
    ahead = look_ahead(rewards, observations, terminated, 0.5, steps=7)
    np.testing.assert_allclose(ahead[0], monte_carlo_returns(rewards, 0.5))
    np.testing.assert_allclose(ahead[1], np.zeros(3) if terminated else [0.125, 0.25, 0.5])
    np.testing.assert_array_equal(ahead[2][:, 0], [3.0, 3.0, 3.0])
    one = look_ahead(rewards, observations, terminated, 0.5, steps=1)
    np.testing.assert_array_equal(one[0], rewards)
    np.testing.assert_array_equal(one[1], [0.5, 0.5, 0.0 if terminated else 0.5])
    np.testing.assert_array_equal(one[2], observations[1:])


def test_sparse_time_outs_go_on_failing(create):
    sparse = dataclasses.replace(TOY_TASK, failure_reward=0.0)
    episodes = [
        recorded_episode(0.0, [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], terminated=False),
        recorded_episode(9.0, [0.0, 0.0], [0.0, 1.0], terminated=True),
    ]
    data = load_offline_data(create(episodes), sparse, discount=0.75, reward_scale=10.0, reward_shift=-5.0)
    # -5 for ever is -5 / (1 - 0.75) from each step of the failure on; nothing follows the success.
    np.testing.assert_allclose(data.batch.mc_returns, [-20.0, -20.0, -20.0, -5.0 + 0.75 * 5.0, 5.0])


def test_rewards_are_normalised_by_the_range_of_returns(create):
    # The returns are 1 and 3.
    data = load_offline_data(create(toy_episodes()), TOY_TASK, 0.5, reward_scale=2.0, reward_shift=-1.0, normalize=True)
    assert data.reward_scale == 1000.0
    np.testing.assert_allclose(data.batch.rewards, [-1.0, -1.0, 999.0, 999.0, 1999.0])
    assert load(open_dataset("toy/toy-v0"), scale=2.0).reward_scale == 2.0


def test_equal_returns_have_no_range_to_normalise_by(create):
    dataset = create([toy_episodes()[0]] * 2)
    load_offline_data(dataset, TOY_TASK, 0.5, 1.0, 0.0)
    with pytest.raises(InputError, match="all episodes of toy/toy-v0 have the same return"):
        load_offline_data(dataset, TOY_TASK, 0.5, 1.0, 0.0, normalize=True)


def test_content_hash_covers_the_success_that_rewards_are_made_from():
    flags = np.array([False, True])
    episode = Episode(np.zeros((3, 1)), np.zeros((2, 1)), np.zeros(2), flags, ~flags, {"success": np.zeros(3, bool)})
    succeeded = episode._replace(infos={"success": np.array([False, False, True])})
    assert hash_episodes([episode]) != hash_episodes([succeeded])


def test_content_hash_is_of_the_recorded_data_alone(create):
    original = load(create(toy_episodes()))
    assert load(open_dataset("toy/toy-v0"), scale=3.0).content_hash == original.content_hash
    changed = toy_episodes()
    changed[1].rewards[0] += 1e-6
    assert load(create(changed, "toy/changed-v0")).content_hash != original.content_hash


def test_missing_dataset_is_named_with_the_local_ones(create):
    create(toy_episodes())
    with pytest.raises(InputError) as caught:
        open_dataset("toy/absent-v0")
    assert all(part in one_line(caught) for part in ("'toy/absent-v0'", "--download", "local: toy/toy-v0"))


def test_dataset_without_environment_is_refused(create):
    minari.create_dataset_from_buffers(
        "toy/bare-v0", toy_episodes(), observation_space=ToyEnv.observation_space, action_space=ACTIONS
    )
    with pytest.raises(InputError, match="toy/bare-v0 names no environment; record"):
        open_dataset("toy/bare-v0")


def test_empty_dataset_is_refused(create):
    with pytest.raises(InputError, match="has no episodes; record some"):
        read_episodes(create([]), TOY_TASK)


def test_recorded_nan_is_refused_with_its_episode(create):
    episodes = toy_episodes()
    episodes[1].rewards[0] = np.nan
    with pytest.raises(InputError, match="toy/toy-v0 episode 1 has NaN or infinite rewards; remove"):
        load(create(episodes))


def test_missing_field_is_named(create):
    dataset = create(toy_episodes())
    with h5py.File(next(dataset.storage.data_path.glob("*.hdf5")), "a") as file:
        del file["episode_1/rewards"]
    with pytest.raises(InputError, match=r"toy/toy-v0 episode 1 lacks a field .*rewards.*; re-record") as caught:
        load(dataset)
    one_line(caught)


def test_damaged_file_is_refused(create):
    dataset = create(toy_episodes())
    with next(dataset.storage.data_path.glob("*.hdf5")).open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(InputError):
        load(dataset)


@pytest.mark.parametrize(
    "space",
    [spaces.Discrete(4), spaces.Box(-np.inf, np.inf, (1,)), spaces.Box(0, 1, (1, 1))],
    ids=["discrete", "unbounded", "matrix"],
)
def test_action_space_must_be_a_bounded_vector(create, space):
    dataset = create([], action_space=space)
    with pytest.raises(InputError, match="bounded Box of rank 1 is needed") as caught:
        read_episodes(dataset, TOY_TASK)
    one_line(caught)


def test_observations_that_the_task_cannot_read_are_refused(create):
    other = Task(name="other", env_prefixes=("Toy",), score="success", observation_keys=("leg",))
    with pytest.raises(InputError, match="observations that the task other cannot read") as caught:
        read_episodes(create(toy_episodes()), other)
    assert "leg" in one_line(caught)


def fabricated(**changes):
    """An episode as Minari hands it out, with fields that Minari itself might refuse to write."""
    buffer = toy_episodes()[0]
    fields = {name: getattr(buffer, name) for name in ("observations", "actions", "rewards", "terminations")}
    return EpisodeData(**{"id": 0, "truncations": buffer.truncations, "infos": {}, **fields, **changes})


BAD_FIELDS = {
    "NaN action": ({"actions": np.array([[np.nan], [1.0], [1.0]])}, "NaN or infinite actions; remove .* or re-record"),
    "infinite reward": ({"rewards": np.array([0.0, np.inf, 0.0])}, "NaN or infinite rewards"),
    "infinite observation": (
        {"observations": {"arm": np.full((4, 1), -np.inf), "body": np.zeros((4, 2))}},
        "NaN or infinite observations",
    ),
    "short observations": (
        {"observations": {"arm": np.zeros((3, 1)), "body": np.zeros((3, 2))}},
        r"observations of shape \(3, 3\) instead of \(4, 3\); re-record",
    ),
    "short actions": ({"actions": np.ones((2, 1))}, r"actions of shape \(2, 1\) instead of \(3, 1\)"),
    "wide actions": ({"actions": np.ones((3, 2))}, r"actions of shape \(3, 2\) instead of \(3, 1\)"),
    "long truncations": ({"truncations": np.zeros(4, bool)}, r"truncations of shape \(4,\) instead of \(3,\)"),
    "low action": ({"actions": np.array([[-1.0], [0.0], [0.0]])}, r"outside the action space .* clip .* \[0, 4\]"),
    "high action": ({"actions": np.array([[0.0], [0.0], [4.1]])}, "outside the action space"),
    "no steps": ({"rewards": np.zeros(0)}, "is empty; filter it out"),
    "text": ({"rewards": np.array(["a", "b", "c"])}, "rewards of type <U1; numbers are needed"),
    "objects as actions": (
        {"actions": np.array([[0], [1], [1]], object)},
        "actions of type object; numbers are needed",
    ),
    "arrays as actions": ({"actions": np.array([np.ones(1), np.ones(2), None], object)}, "actions of type object"),
    "objects as rewards": (
        {"rewards": np.array([0.0, 0.0, 1.0], object)},
        "rewards of type object; numbers are needed",
    ),
    "bytes as rewards": ({"rewards": np.array([b"0", b"1", b"2"], object)}, "rewards of type object"),
    "objects as a part": (
        {"observations": {"arm": np.zeros((4, 1)), "body": np.zeros((4, 2), object)}},
        "observations of type object; numbers are needed",
    ),
    "text as a part": (
        {"observations": {"arm": np.full((4, 1), "0.5"), "body": np.zeros((4, 2))}},
        "observations of type <U3; numbers are needed",
    ),
    "objects as terminations": (
        {"terminations": np.array([False, False, True], object)},
        "terminations of type object",
    ),
    "text as terminations": ({"terminations": np.array(["False", "False", "True"])}, "terminations of type <U5"),
    "text as truncations": ({"truncations": np.array(["False"] * 3, object)}, "truncations of type object"),
    "objects as success": (
        {"infos": {"success": np.array([False, False, False, True], object)}},
        "infos/success of type object; numbers are needed",
    ),
    "text as success": ({"infos": {"success": np.array(["False"] * 4)}}, "infos/success of type <U5"),
    "missing part": ({"observations": {"arm": np.zeros((4, 1))}}, "cannot be read .*body"),
    "unequal parts": ({"observations": {"arm": np.zeros((4, 1)), "body": np.zeros((3, 2))}}, "cannot be read"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_FIELDS.values(), ids=BAD_FIELDS)
def test_bad_episode_is_refused_with_cause_and_remedy(changes, message):
    read_episode(fabricated(), TOY_TASK, ACTIONS, 3, "toy episode 0")
    with pytest.raises(InputError, match=f"^toy episode 0 .*{message}") as caught:
        read_episode(fabricated(**changes), TOY_TASK, ACTIONS, 3, "toy episode 0")
    one_line(caught)


def test_infos_that_nothing_is_made_from_may_be_of_any_type():
    infos = {"note": np.array(["a"] * 4, object), "success": np.array([0, 0, 0, 1])}
    assert read_episode(fabricated(infos=infos), TOY_TASK, ACTIONS, 3, "toy episode 0").infos is infos


def test_contradiction_of_the_task_names_dataset_and_episode(create):
    def relabel(episode, spec):
        if episode.rewards[0] == 1.0:
            raise InputError(f"the reward 1 contradicts {spec.id}")
        return episode

    task = dataclasses.replace(TOY_TASK, relabel=relabel)
    dataset = create(toy_episodes())
    with pytest.raises(InputError) as caught:
        load_offline_data(dataset, task, discount=0.5, reward_scale=1.0, reward_shift=0.0)
    assert one_line(caught) == "toy/toy-v0 episode 1: the reward 1 contradicts Toy-v0"


def test_rounding_beyond_the_bounds_is_clipped(create):
    episodes = [recorded_episode(0.0, [-1e-5, 4.00001], [0.0, 0.0], terminated=False)]
    assert load(create(episodes)).batch.actions[:, 0].tolist() == [-1.0, 1.0]


def test_bounds_without_width_do_not_hide_bad_actions():
    box = spaces.Box(np.array([0.0, 1.0], np.float32), np.array([4.0, 1.0], np.float32))
    data = fabricated(actions=np.array([[99.0, 1.0]] * 3))
    with pytest.raises(InputError):
        read_episode(data, TOY_TASK, box, 3, "toy episode 0")
