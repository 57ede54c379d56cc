import warnings

import gymnasium as gym
import jax.numpy as jnp
import minari
import numpy as np
import pytest
from minari import DataCollector, StepDataCallback
from minari.storage.local import list_local_datasets
from recorded import assert_repeats, content_hash

from smac_jax.agent import Standardizer, act_seeds
from smac_jax.data.minari_dataset import environment_spec, load_offline_data
from smac_jax.data.recipes import adroit_binary
from smac_jax.data.recipes.adroit_binary import clone_behavior, record_adroit_binary
from smac_jax.data.recipes.pointmaze import record_pointmaze
from smac_jax.envs.tasks import TASKS
from smac_jax.errors import InputError
from smac_jax.types import Batch

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

BINARY = TASKS["adroit_binary"]


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
