"""Other libraries beside ours: their environment is made once, their groups are comparable, our online loop speaks."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from launch.peers import environment, groups
from launch.peers.environment import ensure_environment, interpreter_of, make_environment
from launch.peers.groups import make_groups
from launch.speed_worker import make_config
from smac_jax.errors import InputError
from smac_jax.speed import workers
from smac_jax.speed.workers import ROW_FIELDS, Worker

INTERPRETER = Path("/environment/bin/python")
PEERS_WORKDIR = "SMAC_JAX_PEERS_WORKDIR"


class FakeMaker:
    """Makes a folder where the real one makes an environment, and counts."""

    def __init__(self):
        self.calls = 0

    def __call__(self, folder):
        assert not folder.exists()
        self.calls += 1
        folder.mkdir()
        (folder / "made").write_text(str(self.calls))


def test_environment_is_made_once_and_reused(tmp_path):
    make = FakeMaker()
    first = ensure_environment(tmp_path, make)
    assert ensure_environment(tmp_path, make) == first
    assert make.calls == 1
    assert first == tmp_path / "peers" / "environment" / "bin" / "python"


def test_half_made_environment_is_made_again_from_nothing(tmp_path):
    half = tmp_path / "peers" / "environment"
    half.mkdir(parents=True)
    (half / "rest").write_text("of an interrupted installation")
    make = FakeMaker()
    ensure_environment(tmp_path, make)
    assert make.calls == 1
    assert not (half / "rest").exists()


def test_failed_installation_does_not_count_as_made(tmp_path):
    def fail(folder):
        folder.mkdir()
        raise InputError("no network")

    with pytest.raises(InputError, match="no network"):
        ensure_environment(tmp_path, fail)
    make = FakeMaker()
    ensure_environment(tmp_path, make)
    assert make.calls == 1


def test_other_versions_make_the_environment_again(tmp_path, monkeypatch):
    make = FakeMaker()
    ensure_environment(tmp_path, make)
    monkeypatch.setattr(environment, "PACKAGES", ("d3rlpy==9.9.9",))
    ensure_environment(tmp_path, make)
    assert make.calls == 2


def test_interpreter_is_the_environments_own_and_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("relative")
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    assert interpreter_of(folder) == tmp_path / "relative" / "bin" / "python"


def _script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_failure_of_pip_is_one_line_with_its_reason(tmp_path, monkeypatch):
    """The interpreter is a script that makes an environment whose pip fails."""
    pip = _script(tmp_path / "pip", "echo 'ERROR: No matching distribution found for torch' >&2; echo hint >&2; exit 1")
    maker = _script(tmp_path / "python", f'mkdir -p "$3/bin"; cp {pip} "$3/bin/python"')
    monkeypatch.setattr(sys, "executable", str(maker))
    with pytest.raises(InputError) as caught:
        make_environment(tmp_path / "new")
    message = str(caught.value)
    assert "\n" not in message
    assert "No matching distribution found for torch; see to network" in message


def test_python_that_makes_no_environments_is_one_line(tmp_path, monkeypatch):
    maker = _script(tmp_path / "python", "echo 'ensurepip is not available'; exit 1")
    monkeypatch.setattr(sys, "executable", str(maker))
    with pytest.raises(InputError, match="ensurepip is not available"):
        make_environment(tmp_path / "new")


def test_rows_of_a_group_differ_in_the_library_alone():
    for group in make_groups(INTERPRETER):
        kinds = {json.dumps({**worker.row, "peer": None}) for worker in group.workers}
        assert len(kinds) == 1
        peers = [worker.row["peer"] for worker in group.workers]
        assert len(set(peers)) == len(peers)
    names = [group.name for group in make_groups(INTERPRETER)]
    assert len(set(names)) == len(names)


def test_every_library_and_method_is_there_at_both_sizes():
    found = {(w.row["peer"], w.row["method"], w.row["batch_size"]) for g in make_groups(INTERPRETER) for w in g.workers}
    offline = {("d3rlpy", method, size) for method in ("td3bc", "sac", "iql", "calql") for size in (64, 256)}
    online = {(p, f"online-{m}", size) for p in ("sb3", "sbx", None) for m in ("sac", "td3") for size in (64, 256)}
    assert found == offline | online


def test_workers_say_in_their_commands_what_their_rows_say():
    for worker in (worker for group in make_groups(INTERPRETER) for worker in group.workers):
        program, flag, module, row = worker.command
        assert program == (str(INTERPRETER) if worker.row["peer"] else sys.executable)
        assert flag == "-m"
        assert importlib.util.find_spec(module) is not None
        assert json.loads(row) == json.loads(json.dumps(worker.row))
        assert all(name in worker.row for name in ROW_FIELDS)


def test_other_libraries_find_this_project_without_its_being_installed():
    for worker in (worker for group in make_groups(INTERPRETER) for worker in group.workers if worker.row["peer"]):
        assert (Path(worker.env["PYTHONPATH"]) / "launch" / "peers" / "groups.py").exists()


def test_our_configuration_beside_d3rlpys_is_alike_where_it_costs_time():
    rows = [w.row for g in make_groups(INTERPRETER) for w in g.workers if w.row["peer"] == "d3rlpy"]
    for row in rows:
        config = make_config({**row, "peer": None})
        assert not config.network.critic_layer_norm
        assert not config.network.actor_layer_norm
        if row["method"] == "calql":
            # What the worker sets in d3rlpy: 10 actions, the largest of 10 next values, a fixed weight.
            assert (config.terms.conservative.samples, config.terms.td.samples) == (10, 10)
            assert not config.terms.conservative.lagrange
        if row["method"] == "td3bc":
            assert (config.terms.policy_delay, config.terms.target_delay) == (2, 2)


def _tiny_row(**changes):
    sizes = {"hidden_dims": [8, 8], "batch_size": 8, "critics": 2, "seeds": 1, "threads": 1}
    row = {"method": "online-sac", "optimizer": "adam", **sizes, "peer": None, "overrides": {}}
    return {**row, **changes}


def _exchange(worker, log):
    """What a worker says: ready, one turn, its end."""
    process = workers.start(worker, log)
    try:
        ready = workers.wait_until_ready(process)
        turn = workers.take_turn(process, 0.2)
        end = workers.finish(process)
    finally:
        workers.kill([process])
    return ready, turn, end


def test_our_online_loop_speaks_as_a_worker(tmp_path):
    row = _tiny_row(overrides={"online.warmup_steps": 20})
    command = [sys.executable, "-m", "launch.peers.online_worker", json.dumps(row)]
    ready, turn, end = _exchange(Worker(command, {}, row), tmp_path / "log")
    assert ready["compile_seconds"] > 0
    assert ready["flops_per_update"] > 0
    assert turn.updates >= 100
    assert turn.seconds >= 0.2
    assert end["peak_memory_mb"] > 0
    assert set(end["step_parts"]) == {"act", "update", "insert", "environment"}
    assert all(0 < seconds < 0.1 for seconds in end["step_parts"].values())


@pytest.mark.parametrize(("each", "steps_made"), [(1, 100), (4, 25)])
def test_our_online_loop_counts_the_updates_of_each_seed(monkeypatch, each, steps_made):
    from launch.peers import online_worker

    agents = []

    def spy(agent, *arguments):
        result = online_step(agent, *arguments)
        agents.append((int(result.agent.step), int(result.replay.inserted)))
        return result

    online_step = online_worker.online_step
    monkeypatch.setattr(online_worker, "online_step", spy)
    overrides = {"online.warmup_steps": 10, "online.replay_capacity": 50, "online.updates_per_step": each}
    _, run, _ = online_worker.prepare(_tiny_row(method="online-td3", seeds=2, overrides=overrides))
    updates, steps = agents[-1]
    assert run() == 200
    assert (agents[-1][0] - updates, agents[-1][1] - steps) == (100, steps_made)


@pytest.mark.parametrize(
    ("peer", "method"), [("d3rlpy", m) for m in groups.OFFLINE] + [("sb3", "online-td3"), ("sbx", "online-sac")]
)
def test_other_libraries_speak_as_workers(tmp_path, peer, method):
    workdir = os.environ.get(PEERS_WORKDIR)
    interpreter = interpreter_of(Path(workdir or ".") / "peers" / "environment")
    if workdir is None or not interpreter.exists():
        pytest.skip(f"set {PEERS_WORKDIR} to a --workdir of `launch.speed --peers`, which has the libraries")
    found = [
        w for g in make_groups(interpreter) for w in g.workers if w.row["peer"] == peer and w.row["method"] == method
    ]
    row = {**found[0].row, "hidden_dims": [8, 8], "batch_size": 8}
    worker = found[0]._replace(command=[*found[0].command[:-1], json.dumps(row)], row=row)
    ready, turn, end = _exchange(worker, tmp_path / "log")
    assert (ready["compile_seconds"] is not None) == (peer == "sbx")
    assert turn.updates >= 10
    assert end["peak_memory_mb"] > 0
