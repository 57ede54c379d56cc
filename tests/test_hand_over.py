import csv
import subprocess
import sys

import gymnasium as gym
import jax
import minari
import numpy as np
import pytest
from agents import identical
from conftest import REPOSITORY
from minari.data_collector import EpisodeBuffer

from configs import finetune, smac
from launch import session
from launch.load import hand_over, load_agent
from smac_jax.agent import AgentSpec, Standardizer, create_agents
from smac_jax.io.checkpoints import Checkpoints
from smac_jax.keys import stream_keys


def make_agents(algorithm, seed):
    spec = AgentSpec(3, 2, hidden_dims=(8, 8), target_actor=algorithm == "td3")
    return create_agents(spec, stream_keys([seed], "init"), Standardizer(np.zeros(3), np.ones(3)))


def apart(state):
    """An agent whose target actor, if it has one, is not its actor."""
    if state.target_actor is None:
        return state
    return state.replace(target_actor=jax.tree.map(lambda leaf: leaf + 0.5, state.actor.params))


@pytest.mark.parametrize(("offline", "online"), [("sac", "td3"), ("td3", "td3"), ("td3", "sac"), ("sac", "sac")])
def test_target_actor_is_handed_over_or_begins_as_the_actor(tmp_path, offline, online):
    before, checkpoints = apart(make_agents(offline, 0)), Checkpoints(tmp_path)
    checkpoints.save(7, {}, agent=before)
    config = smac.get_config("pointmaze-small")
    config.terms.td.next_action = "mode" if offline == "td3" else "sample"
    after = hand_over(checkpoints, {"config": config.to_dict()}, make_agents(online, 1))
    assert identical(after.actor, before.actor)
    if online == "sac":
        assert after.target_actor is None
    else:
        assert identical(after.target_actor, before.target_actor if offline == "td3" else before.actor.params)


@pytest.fixture
def pretrained_on_an_anchor(tmp_path, monkeypatch):
    """A pre-training of a few updates on random actions in Pendulum."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    env, rng = gym.make("Pendulum-v1", max_episode_steps=50), np.random.default_rng(0)
    last = np.arange(50) == 49
    episodes = [
        EpisodeBuffer(
            observations=rng.normal(size=(51, 3)).astype(np.float32),
            actions=rng.uniform(-2.0, 2.0, (50, 1)).astype(np.float32),
            rewards=rng.normal(size=50),
            terminations=np.zeros(50, bool),
            truncations=last,
        )
        for _ in range(2)
    ]
    minari.create_dataset_from_buffers("pendulum/random-v0", episodes, env=env)
    # Steps so large that the actor is far from its average.
    settings = ("network.hidden_dims=(8,8)", "batch_size=8", "offline.steps=60", "optimizer.actor=0.1")
    settings += ("eval.every=60", "eval.episodes=2", "log_every=60", "checkpoint_every=60")
    workdir = tmp_path / "run"
    command = [sys.executable, "-m", "launch.pretrain", "--config=configs/smac.py:generic-small", "--seeds=0,1"]
    command += [f"--config.{setting}" for setting in settings]
    # A program of its own: flags of two programs cannot be defined in one process.
    subprocess.run([*command, "--dataset=pendulum/random-v0", f"--workdir={workdir}"], cwd=REPOSITORY, check=True)
    return workdir


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pretraining_is_judged_by_its_average_which_is_loaded_and_handed_over(pretrained_on_an_anchor):
    workdir = pretrained_on_an_anchor
    loaded = load_agent(workdir)
    config, source = loaded.config, session.load_source("pendulum/random-v0", loaded.config)
    checkpoints = Checkpoints(workdir, create=False)
    like = session.make_agents(config, [0, 1], loaded.dims, source.data.standardizer)
    saved = checkpoints.restore("agent", like)
    assert not identical(saved.actor.params, saved.anchor)
    assert identical(loaded.state.actor.params, saved.anchor)

    evaluate = session.make_evaluator(source.env_spec, source.task, [0, 1], 2, loaded.dims)
    with (workdir / "metrics.csv").open(newline="") as file:
        recorded = [float(row["return"]) for row in csv.DictReader(file) if row["step"] == "60"]
    for state, is_recorded in ((loaded.state, True), (saved, False)):
        returns = [np.mean([outcome.episode_return for outcome in row]) for row in evaluate(state, 60)]
        assert np.allclose(returns, recorded, atol=1e-3) == is_recorded

    online = session.make_agents(finetune.from_checkpoint(config, "td3"), [0, 1], loaded.dims, source.data.standardizer)
    after = hand_over(checkpoints, {"config": config.to_dict()}, online)
    checkpoints.close()
    for params in (after.actor.params, after.anchor, after.target_actor):
        assert identical(params, saved.anchor)
    assert identical(after.actor.opt_state, saved.actor.opt_state)
