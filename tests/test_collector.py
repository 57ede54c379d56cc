import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from smac_jax.envs.collector import Collector
from smac_jax.envs.make import make_env, make_vector_env
from smac_jax.envs.tasks import GENERIC, TASKS
from smac_jax.envs.wrappers import EpisodeOutcome
from smac_jax.errors import InputError
from smac_jax.keys import episode_seed
from smac_jax.training.evaluation import evaluate

HORIZON = 6
SEEDS = (0, 5)
TASK = TASKS["pointmaze"]
# The goal lies to the right.
TOWARDS_AND_AWAY = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)


def maze_spec(horizon):
    """A corridor so short that some episodes end at the goal and others run out of time."""
    return EnvSpec(
        "PointMaze_Corridor-v3",
        entry_point="gymnasium_robotics.envs.maze.point_maze:PointMazeEnv",
        max_episode_steps=horizon,
        kwargs={"maze_map": [[1] * 5, [1, "r", "g", 0, 1], [1] * 5], "continuing_task": False},
    )


def train_seeds(seed):
    return lambda episode: episode_seed(seed, "train", episode)


def make_collector(seeds=SEEDS, horizon=HORIZON):
    env = make_vector_env(maze_spec(horizon), TASK, len(seeds))
    return Collector(env, [train_seeds(seed) for seed in seeds], horizon)


def random_actions(steps, seeds=SEEDS):
    return np.random.default_rng(1).uniform(-1, 1, (steps, len(seeds), 2)).astype(np.float32)


def identical(one, other):
    return all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


@pytest.mark.parametrize("steps", [0, 4, HORIZON, HORIZON + 3], ids=["fresh", "first", "boundary", "second"])
def test_restored_collector_goes_on_bit_for_bit(steps):
    actions = random_actions(steps + 2 * HORIZON)
    collector = make_collector()
    collector.reset()
    for action in actions[:steps]:
        collector.step(action)
    restored = make_collector()
    restored.restore(collector.record())
    np.testing.assert_array_equal(restored.observations, collector.observations)
    for action in actions[steps:]:
        expected, expected_outcomes = collector.step(action)
        transitions, outcomes = restored.step(action)
        assert identical(transitions, expected)
        assert outcomes == expected_outcomes
        np.testing.assert_array_equal(restored.observations, collector.observations)
    assert collector.record()["episodes"].min() >= 2, "an episode must have ended on the way"


def test_restored_collector_goes_on_where_episodes_are_out_of_step():
    collector, restored = make_collector(horizon=40), make_collector(horizon=40)
    collector.reset()
    for _ in range(30):
        collector.step(TOWARDS_AND_AWAY)
    lengths = collector.record()["lengths"]
    assert lengths[0] != lengths[1]
    restored.restore(collector.record())
    for _ in range(30):
        expected, _ = collector.step(TOWARDS_AND_AWAY)
        transitions, _ = restored.step(TOWARDS_AND_AWAY)
        assert identical(transitions, expected)


def test_record_is_a_snapshot():
    collector = make_collector()
    collector.reset()
    record = collector.record()
    collector.step(random_actions(1)[0])
    assert not record["lengths"].any()
    assert not record["actions"].any()


def test_transitions_stay_as_they_are():
    # They are inserted while the environments go on.
    collector = make_collector()
    collector.reset()
    steps = [collector.step(action)[0] for action in random_actions(HORIZON + 1)]
    copies = [[leaf.copy() for leaf in transitions] for transitions in steps]
    for action in random_actions(2 * HORIZON):
        collector.step(action)
    assert all(identical(transitions, copy) for transitions, copy in zip(steps, copies, strict=True))


def test_seed_alone_determines_its_episodes():
    collector, alone = make_collector(), make_collector(SEEDS[1:])
    collector.reset()
    alone.reset()
    env = make_env(maze_spec(HORIZON), TASK)
    for index, seed in enumerate(SEEDS):
        start, _ = env.reset(seed=episode_seed(seed, "train", 0))
        np.testing.assert_array_equal(collector.observations[index], start)
    assert not np.array_equal(collector.observations[0], collector.observations[1])
    for action in random_actions(3 * HORIZON):
        transitions, _ = collector.step(action)
        expected, _ = alone.step(action[1:])
        assert identical([leaf[1:] for leaf in transitions], expected)


def test_next_observation_is_from_before_the_reset_and_a_time_out_is_no_termination():
    collector = make_collector(SEEDS[:1])
    collector.reset()
    env = make_env(maze_spec(HORIZON), TASK)
    observation, _ = env.reset(seed=episode_seed(SEEDS[0], "train", 0))
    away = np.array([[-1.0, 0.0]], np.float32)
    for step in range(HORIZON):
        before = collector.observations
        transitions, outcomes = collector.step(away)
        np.testing.assert_array_equal(transitions.observations, before)
        np.testing.assert_array_equal(transitions.observations[0], observation)
        observation, _, _, truncated, _ = env.step(away[0])
        np.testing.assert_array_equal(transitions.next_observations[0], observation)
        assert truncated == bool(outcomes) == (step == HORIZON - 1)
        assert not transitions.terminations.any()
    second, _ = env.reset(seed=episode_seed(SEEDS[0], "train", 1))
    np.testing.assert_array_equal(collector.observations[0], second)
    assert not np.array_equal(second, observation)
    assert (outcomes[0].length, outcomes[0].score) == (HORIZON, 0.0)


def test_goal_terminates_one_environment_and_leaves_the_other_running():
    collector = make_collector(horizon=40)
    collector.reset()
    for _ in range(39):
        transitions, outcomes = collector.step(TOWARDS_AND_AWAY)
        if outcomes:
            break
    assert transitions.terminations.tolist() == [True, False]
    assert transitions.rewards.tolist() == [1.0, 0.0]
    assert list(outcomes) == [0]
    assert outcomes[0].success == outcomes[0].score == 1.0
    record = collector.record()
    assert record["episodes"].tolist() == [1, 0]
    assert record["lengths"].tolist() == [0, outcomes[0].length]
    assert not record["actions"][0].any()


class UnseededEnv(gym.Env):
    """Begins where the global generator says, whatever the seed."""

    observation_space = gym.spaces.Box(-10, 10, (2,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        self.position = np.random.normal(size=2).astype(np.float32)  # noqa: NPY002
        return self.position, {}

    def step(self, action):
        self.position = self.position + 0.1 * action
        return self.position, 0.0, False, False, {}


def test_environment_that_does_not_repeat_its_resets_is_not_restored():
    def make():
        spec = EnvSpec("Unseeded-v0", entry_point=UnseededEnv, max_episode_steps=HORIZON)
        return Collector(make_vector_env(spec, GENERIC, 2), [train_seeds(seed) for seed in SEEDS], HORIZON)

    collector = make()
    collector.reset()
    for _ in range(3):
        collector.step(np.zeros((2, 1), np.float32))
    record = collector.record()
    with pytest.raises(InputError, match=r"^Unseeded-v0 does not .* seed index 0: after 3 steps.*; make reset depend"):
        make().restore(record)
    # As checkpoints were written before there was anything to compare with.
    del record["observations"]
    make().restore(record)


class BreakingEnv(gym.Env):
    """Gives something that is no number, where the action asks for it or at the second reset."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gym.spaces.Box(-1, 1, (1,))
    at_reset = False

    def reset(self, *, seed=None, options=None):
        self.resets = getattr(self, "resets", -1) + 1
        broken = self.at_reset and self.resets
        return np.array([0.0, np.nan if broken else 0.0], np.float32), {}

    def step(self, action):
        observation = np.array([np.inf if action[0] == 1.0 else 0.0, 0.0], np.float32)
        return observation, np.nan if action[0] == -1.0 else 0.0, False, False, {}


class BreakingResetEnv(BreakingEnv):
    at_reset = True


@pytest.mark.parametrize(
    ("entry_point", "last_action", "message"),
    [
        (BreakingEnv, 1.0, "observation, at seed index 1, episode 0, step 2"),
        (BreakingEnv, -1.0, "reward, at seed index 1, episode 0, step 2"),
        (BreakingResetEnv, 0.0, "observation of a reset, at seed index 0, episode 1, step 0"),
    ],
    ids=["observation", "reward", "reset"],
)
def test_live_values_that_are_no_numbers_are_refused_before_they_are_given_out(entry_point, last_action, message):
    spec = EnvSpec("Breaking-v0", entry_point=entry_point, max_episode_steps=2)
    collector = Collector(make_vector_env(spec, GENERIC, 2), [train_seeds(seed) for seed in SEEDS], 2)
    collector.reset()
    collector.step(np.zeros((2, 1), np.float32))
    with pytest.raises(InputError, match=rf"^Breaking-v0 has a NaN or infinite {message}; make its simulation stable"):
        collector.step(np.array([[0.0], [last_action]], np.float32))


class LotteryEnv(gym.Env):
    """Episodes whose length, observations and rewards are drawn from the reset seed."""

    observation_space = gym.spaces.Box(-10, 10, (1,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def __init__(self, reset_seeds):
        self.reset_seeds = reset_seeds

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.reset_seeds.append(seed)
        self.remaining = int(self.np_random.integers(1, 9))
        return self.np_random.normal(size=1).astype(np.float32), {}

    def step(self, action):
        self.remaining -= 1
        observation = self.np_random.normal(size=1).astype(np.float32)
        return observation, float(action[0]), self.remaining == 0, False, {}


def evaluate_lottery(per_seed, step=0, episodes=5, seeds=SEEDS, reset_seeds=None):
    """Outcomes of policies that differ between the seeds."""
    slopes = np.array(seeds, np.float32)[:, None, None] + 1.0
    reset_seeds = [] if reset_seeds is None else reset_seeds
    env = gym.vector.SyncVectorEnv(
        [lambda: EpisodeOutcome(LotteryEnv(reset_seeds), "normalized_return", "Lottery-v0")] * per_seed * len(seeds),
        autoreset_mode=gym.vector.AutoresetMode.DISABLED,
    )
    return evaluate(lambda observations: np.tanh(slopes * observations), env, seeds, step, episodes)


def comparable(results):
    """Without `success`, which is NaN here and unequal to itself."""
    return [[(outcome.score, outcome.episode_return, outcome.length) for outcome in row] for row in results]


def test_evaluation_repeats_whatever_the_number_of_environments():
    reference = comparable(evaluate_lottery(per_seed=1))
    assert len({length for row in reference for *_, length in row}) > 1, "episodes must overtake each other"
    for per_seed in (1, 2, 3, 5, 8):
        assert comparable(evaluate_lottery(per_seed)) == reference
    assert comparable(evaluate_lottery(2, seeds=SEEDS[1:])) == reference[1:]


@pytest.mark.parametrize("per_seed", [1, 3, 8])
def test_evaluation_has_exactly_the_asked_episodes_of_every_seed(per_seed):
    reset_seeds = []
    results = evaluate_lottery(per_seed, step=7, episodes=4, reset_seeds=reset_seeds)
    assert [len(row) for row in results] == [4, 4]
    asked = {episode_seed(seed, "evaluation", 7, episode) for seed in SEEDS for episode in range(4)}
    assert asked <= set(reset_seeds)
    assert all(reset_seeds.count(seed) == 1 for seed in asked)


def test_evaluations_at_different_steps_and_of_different_seeds_see_different_episodes():
    early, late = [], []
    first = comparable(evaluate_lottery(2, step=0, reset_seeds=early))
    second = comparable(evaluate_lottery(2, step=1000, reset_seeds=late))
    assert not set(early) & set(late)
    assert first[0] != second[0]
    assert first[0] != first[1]


def test_evaluation_environments_serve_again():
    env = make_vector_env(maze_spec(HORIZON), TASK, 4)

    def still(observations):
        return np.zeros((*observations.shape[:2], 2), np.float32)

    results = [evaluate(still, env, SEEDS, step, 3) for step in (0, 0, 1)]
    assert results[0] == results[1]
    assert all(outcome.length == HORIZON for row in results[2] for outcome in row)
