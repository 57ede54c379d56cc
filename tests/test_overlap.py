import functools
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agents import ACTIONS, OBSERVATIONS, identical, make_batch
from test_training import agents

from launch.recorder import Recorder
from launch.session import Stopwatch
from smac_jax.agent import algorithms
from smac_jax.data.replay import create_replay
from smac_jax.envs.collector import Outcome, Transitions
from smac_jax.training.online import (
    Calls,
    compile_calls,
    has_update,
    make_insert,
    make_online_updates,
    make_returns_writer,
    online_step,
)

SEEDS = [0, 1]


class FakeCollector:
    """Environments whose n-th observation is n, and whose step may take its time."""

    def __init__(self, seconds=0.0, log=None):
        self.seconds, self.log, self.number = seconds, [] if log is None else log, 0

    @property
    def observations(self):
        return np.full((len(SEEDS), OBSERVATIONS), self.number, np.float32)

    def step(self, actions):
        before = self.observations
        time.sleep(self.seconds)
        self.number += 1
        self.log.append("environments")
        nothing = np.zeros(len(SEEDS), np.float32)
        return Transitions(before, actions, nothing, nothing.astype(bool), self.observations), {}


def beginning():
    return agents(SEEDS), create_replay(len(SEEDS), 8, OBSERVATIONS, ACTIONS)


@functools.cache
def real_calls():
    updates = make_online_updates(algorithms.sac(), 8, 0.5, updates_per_step=1)
    return compile_calls(*beginning(), SEEDS, make_batch(9, rows=50), updates, None, make_insert(1.0, 0.0))


def train(steps, warmup, seconds=0.0):
    agent, replay = beginning()
    collector, infos = FakeCollector(seconds), []
    for step in range(1, steps + 1):
        agent, replay, info, _ = online_step(agent, replay, collector, real_calls(), step, warmup)
        infos.append(info)
    return agent, replay, infos


def test_step_acts_updates_steps_the_environments_and_inserts_in_this_order():
    log = []

    def act(agent, observations, step):
        log.append(f"act {agent} {observations[0, 0]:.0f} {step}")
        return jnp.zeros((len(SEEDS), ACTIONS))

    def update(agent, replay):
        log.append(f"update {agent} {replay}")
        return agent + 1, {}

    def insert(replay, transitions, outcomes):
        log.append(f"insert {transitions.observations[0, 0]:.0f}")
        return replay + 1

    collector, agent, replay = FakeCollector(log=log), 10, 0
    for step in (1, 2, 3):
        agent, replay, info, _ = online_step(agent, replay, collector, Calls(act, update, insert), step, warmup_steps=1)
        assert (info is not None) == (step > 1)
    assert log == [
        *("act 10 0 1", "environments", "insert 0"),
        *("act 10 1 2", "update 10 1", "environments", "insert 1"),
        *("act 11 2 3", "update 11 2", "environments", "insert 2"),
    ]


@pytest.mark.parametrize(("warmup", "first"), [(0, 2), (5, 6)])
def test_first_update_is_after_the_warm_up_and_has_data(warmup, first):
    assert [step for step in range(1, 8) if has_update(step, warmup)] == list(range(first, 8))
    agent, replay, infos = train(steps=7, warmup=warmup)
    assert [info is not None for info in infos] == [step >= first for step in range(1, 8)]
    assert int(agent.step) == 8 - first
    assert int(replay.inserted) == 7


def test_results_do_not_depend_on_how_long_environments_take():
    assert identical(train(6, warmup=2), train(6, warmup=2, seconds=0.05))


def test_environments_step_while_the_update_computes():
    def slow(agent, replay):
        return jax.lax.fori_loop(0, 100, lambda _, x: jnp.tanh(x @ x), agent), {}

    update = jax.jit(slow, donate_argnums=0)
    agent, replay = jnp.eye(300), create_replay(len(SEEDS), 8, OBSERVATIONS, ACTIONS)
    calls = Calls(lambda *_: np.zeros((len(SEEDS), ACTIONS), np.float32), update, make_insert(1.0, 0.0))
    for step in (1, 2):
        # The first step compiles.
        agent = jax.block_until_ready(agent)
        agent, replay, *_ = online_step(agent, replay, FakeCollector(), calls, step + 1, 0)
    assert not agent.is_ready(), "the environments were stepped and the transition was inserted behind the update"
    assert int(replay.inserted) == 2


def test_insertion_writes_the_returns_of_ended_episodes():
    insert = make_insert(2.0, 1.0, make_returns_writer(0.5, 4), time_out=-8.0)
    replay = create_replay(len(SEEDS), 8, OBSERVATIONS, ACTIONS)

    def transitions(terminations):
        zeros = np.zeros((len(SEEDS), OBSERVATIONS), np.float32)
        return Transitions(zeros, zeros[:, :ACTIONS], np.array([1.0, 2.0]), np.array(terminations), zeros)

    outcome = Outcome(0.0, 0.0, 0.0, 2)
    replay = insert(replay, transitions([False, False]), {})
    replay = insert(replay, transitions([True, False]), {0: outcome, 1: outcome})
    np.testing.assert_allclose(replay.data.mc_returns[:, :2], [[3 + 0.5 * 3, 3], [5 + 0.5 * (5 - 4), 5 - 4]])


class Records:
    """Evaluation, log and checkpoints of a run in one, which notes what is done."""

    def __init__(self, error=None):
        self.events, self.error, self.go_on, self.saved = [], error, threading.Event(), {}

    def recorder(self):
        return Recorder(self.evaluate, self, self, Stopwatch(), lambda line: None)

    def evaluate(self, agent, step):
        assert self.go_on.wait(20)
        if self.error:
            raise self.error
        return [[Outcome(float(agent["kernel"][0]), 0.0, 0.0, 1)]]

    def evaluation(self, step, results, wall_time):
        self.events.append(("rows", step, results[0][0].score))

    def save(self, step, counters, **items):
        self.events.append(("checkpoint", step))
        self.saved[step] = (counters, items)


def agent_of(value):
    return {"kernel": jnp.full(3, value)}


def test_recording_goes_on_beside_the_training_and_in_order():
    records = Records()
    replace = jax.jit(lambda agent: {"kernel": agent["kernel"] + 1.0}, donate_argnums=0)
    with records.recorder() as recorder:
        agent = agent_of(1.0)
        recorder.record(10, agent, evaluated=True, counters={"replay_rows": 4}, replay=np.ones(2))
        agent = replace(agent)
        assert records.events == [], "training goes on before the evaluation has"
        threading.Timer(0.1, records.go_on.set).start()
        recorder.record(20, agent, evaluated=False)
        assert records.events[:2] == [("rows", 10, 1.0), ("checkpoint", 10)], "the next step waits"
        replace(agent)
        recorder.record(30, agent_of(5.0), evaluated=True)
    assert records.events[2:] == [("checkpoint", 20), ("rows", 30, 5.0), ("checkpoint", 30)]
    counters, items = records.saved[10]
    assert counters["replay_rows"] == 4
    assert counters["seconds"].keys() >= {"wall", "wait"}
    assert items.keys() == {"agent", "replay"}
    np.testing.assert_array_equal(records.saved[20][1]["agent"]["kernel"], np.full(3, 2.0))


def train_beside_failing_evaluation(meet, records):
    with records.recorder() as recorder:
        recorder.record(10, agent_of(1.0), evaluated=True)
        if meet == "check":
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                recorder.check()
        elif meet == "record":
            recorder.record(20, agent_of(2.0), evaluated=True)
        elif meet == "error":
            raise FloatingPointError


@pytest.mark.parametrize("meet", ["check", "record", "end"])
def test_failed_evaluation_surfaces_in_the_training_and_leaves_no_checkpoint(meet):
    records = Records(error=OSError("the simulator is gone"))
    records.go_on.set()
    with pytest.raises(OSError, match="the simulator is gone"):
        train_beside_failing_evaluation(meet, records)
    assert records.events == []


def test_error_in_the_training_is_not_hidden_by_one_in_the_evaluation():
    records = Records(error=OSError("the simulator is gone"))
    records.go_on.set()
    with pytest.raises(FloatingPointError):
        train_beside_failing_evaluation("error", records)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_agent_that_is_not_finite_is_not_saved(broken):
    records = Records()
    records.go_on.set()
    with records.recorder() as recorder:
        recorder.record(10, agent_of(1.0), evaluated=False)
        with pytest.raises(FloatingPointError, match="step 20 are not finite"):
            recorder.record(20, agent_of(broken), evaluated=True)
    assert records.events == [("checkpoint", 10)]
