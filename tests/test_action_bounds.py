import gymnasium as gym
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

from configs import bc
from launch.session import load_source
from smac_jax.data.describe import describe
from smac_jax.data.minari_dataset import open_dataset
from smac_jax.envs.make import make_env
from smac_jax.envs.tasks import GENERIC
from smac_jax.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

# The bounds of Pendulum's actions are -2 and 2.
PENDULUM = gym.spec("Pendulum-v1")
NORMALISED = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
NATIVE = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)
MESSAGE = r"action 0 in \[-1, 1\] and Pendulum-v1 takes it in \[-2, 2\]"


@pytest.fixture
def create(minari_path):
    """Function that writes an episode of Pendulum to a dataset with some action space."""
    env = gym.Env()

    def write(action_space, spec=PENDULUM):
        env.spec = spec
        last = np.arange(4) == 3
        episode = EpisodeBuffer(
            observations=np.zeros((5, 3), np.float32),
            actions=np.full((4, 1), 0.443, np.float32),
            rewards=np.full(4, -1.0),
            terminations=np.zeros(4, bool),
            truncations=last,
        )
        minari.create_dataset_from_buffers(
            "pendulum/new-v0",
            [episode],
            env=env,
            observation_space=gym.spaces.Box(-np.inf, np.inf, (3,), np.float32),
            action_space=action_space,
        )
        return open_dataset("pendulum/new-v0")

    return write


def test_actions_recorded_in_other_units_than_the_environments_are_refused(create):
    (problem,) = describe(create(NORMALISED)).problems
    with pytest.raises(InputError, match=MESSAGE) as caught:
        load_source("pendulum/new-v0", bc.get_config("generic-small"))
    assert str(caught.value) == problem
    assert len(problem.splitlines()) == 1
    assert "record them in the environment's units" in problem


def test_actions_in_the_environments_units_are_accepted(create):
    assert describe(create(NATIVE)).problems == ()
    source = load_source("pendulum/new-v0", bc.get_config("generic-small"))
    np.testing.assert_allclose(source.data.batch.actions, 0.443 / 2.0, rtol=1e-6)


def test_actions_that_the_recorded_specification_rescales_are_accepted(create):
    rescaled = gym.wrappers.RescaleAction(gym.make("Pendulum-v1"), -1.0, 1.0)
    assert describe(create(rescaled.action_space, rescaled.spec)).problems == ()


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (np.float64(-2.0), np.float64(2.0 + 1e-6), None),
        (-2.0, 1.9, r"action 0 in \[-2, 1.9\]"),
        ([-2.0, -2.0], [2.0, 2.0], r"actions of shape \(2,\) and Pendulum-v1 takes \(1,\)"),
    ],
    ids=["rounding", "one side", "shape"],
)
def test_bounds_may_differ_by_rounding_alone(low, high, message):
    recorded = gym.spaces.Box(np.atleast_1d(low), np.atleast_1d(high), dtype=np.float64)
    if message is None:
        make_env(PENDULUM, GENERIC, recorded_actions=recorded)
        return
    with pytest.raises(InputError, match=message):
        make_env(PENDULUM, GENERIC, recorded_actions=recorded)
