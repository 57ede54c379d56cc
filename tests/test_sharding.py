"""Several devices: each case runs in a process of its own, most of them in one that sees eight CPU devices."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agents import ACTIONS, OBSERVATIONS, identical, make_batch
from jax.sharding import SingleDeviceSharding
from test_training import agents, filled_replay

from launch.recorder import _apart
from smac_jax import sharding
from smac_jax.agent import act_seeds, algorithms
from smac_jax.cores import ONE_THREAD
from smac_jax.data.replay import filled_rows, with_capacity
from smac_jax.io.checkpoints import Checkpoints
from smac_jax.keys import fold_seeds, stream_keys
from smac_jax.sharding import SEED_AXIS, devices_for, replicate, seed_mesh, shard_seeds, spread_seeds
from smac_jax.training.offline import make_offline_updates
from smac_jax.training.online import insert_transitions, make_online_updates, make_returns_writer

SEEDS = list(range(8))
COMMUNICATION = re.compile(r"\b(?:all-(?:gather|reduce|to-all)|reduce-scatter|collective-\w+)[\w-]*\(")


def on_eight_devices(case: Callable, *arguments: object) -> None:
    in_process(case, *arguments, flags="--xla_force_host_platform_device_count=8")


def in_process(case: Callable, *arguments: object, flags: str = "") -> None:
    process = subprocess.run(
        [sys.executable, "-c", f"import sys, test_sharding; test_sharding.{case.__name__}(*sys.argv[1:])"]
        + [str(argument) for argument in arguments],
        cwd=Path(__file__).parent,
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {flags}",
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert process.returncode == 0, process.stderr


def assert_close(left, right):
    # Adam divides by gradients near zero, so that rounding shows; the tolerance is that of a seed in company and alone.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), left, right)


def layouts(tree):
    return [leaf.sharding for leaf in jax.tree.leaves(tree)]


def assert_same_layout(tree, expected):
    for mine, its, leaf in zip(layouts(tree), expected, jax.tree.leaves(tree), strict=True):
        assert mine.is_equivalent_to(its, leaf.ndim), (leaf.shape, mine)


def offline_case():
    keys, data = stream_keys(SEEDS, "update"), make_batch(9, rows=50)
    expected = agents(SEEDS)
    for _ in range(2):
        expected, expected_info = make_offline_updates(algorithms.smac(), 8, 3)(expected, keys, data)

    mesh = seed_mesh(len(SEEDS))
    state, keys, data = shard_seeds(agents(SEEDS), mesh), shard_seeds(keys, mesh), replicate(data, mesh)
    kernel, before = state.critic.params["params"]["mlp"]["hidden_0"]["kernel"], layouts(state)
    assert [shard.data.shape[0] for shard in kernel.addressable_shards] == [1] * 8
    compiled = make_offline_updates(algorithms.smac(), 8, 3, mesh).lower(state, keys, data).compile()
    for _ in range(2):
        state, info = compiled(state, keys, data)
    assert_same_layout(state, before)
    assert kernel.is_deleted()
    assert not COMMUNICATION.findall(compiled.as_text())
    assert_close(state, expected)
    assert_close(info, expected_info)


def test_offline_seeds_on_eight_devices_equal_seeds_on_one():
    on_eight_devices(offline_case)


def train_online(mesh, fraction=0.5):
    def explore(state, observations, keys, step):
        return act_seeds(state, observations, fold_seeds(keys, step))

    state, replay = shard_seeds(agents(SEEDS), mesh), shard_seeds(filled_replay(SEEDS), mesh)
    update_keys, act_keys = (shard_seeds(stream_keys(SEEDS, name), mesh) for name in ("update", "act"))
    data = replicate(make_batch(9, rows=50), mesh) if fraction else None
    observations = np.ones((len(SEEDS), OBSERVATIONS), np.float32)
    updates = make_online_updates(algorithms.td3(), 8, fraction, 2, mesh)
    updates = updates.lower(state, replay, update_keys, data).compile()
    act = jax.jit(explore).lower(state, observations, act_keys, np.int32(0)).compile()
    transitions = jax.tree.map(np.asarray, make_batch(3, rows=len(SEEDS)))
    before = layouts((state, replay))
    for step in range(3):
        actions = np.asarray(act(state, observations, act_keys, np.int32(step)))
        assert actions.shape == (len(SEEDS), ACTIONS)
        replay = insert_transitions(replay, transitions._replace(actions=actions))
        replay = make_returns_writer(0.9, 5)(replay, 3, 2, 1.0)
        state, _ = updates(state, replay, update_keys, data)
    assert_same_layout((state, replay), before)
    assert not COMMUNICATION.findall(updates.as_text() + act.as_text())
    # The step counter is shared, so that delayed updates stay a branch on every device.
    assert " conditional(" in updates.as_text()
    return state, replay, actions


def online_case():
    assert_close(train_online(seed_mesh(len(SEEDS))), train_online(None))
    train_online(seed_mesh(len(SEEDS)), fraction=0.0)


def test_online_seeds_on_eight_devices_equal_seeds_on_one():
    on_eight_devices(online_case)


def checkpoint_case(workdir):
    mesh, checkpoints = seed_mesh(len(SEEDS)), Checkpoints(Path(workdir))
    like = shard_seeds(agents(range(100, 108)), mesh)
    state = checkpoints.restore("agent", like)
    assert_same_layout(state, layouts(like))
    assert identical(state, agents(SEEDS))
    rows = shard_seeds(jax.tree.map(jnp.zeros_like, filled_rows(filled_replay(SEEDS))), mesh)
    replay = shard_seeds(with_capacity(checkpoints.restore("replay", rows), 32), mesh)
    assert_same_layout(replay, layouts(rows))
    assert identical(replay, filled_replay(SEEDS))
    state = state.replace(step=state.step + 7)
    checkpoints.save(7, {}, agent=state, replay=filled_rows(replay))
    assert_same_layout(checkpoints.restore("agent", like), layouts(like))


def test_checkpoints_move_between_one_device_and_eight(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, {}, agent=agents(SEEDS), replay=filled_rows(filled_replay(SEEDS)))
    checkpoints.close()
    on_eight_devices(checkpoint_case, tmp_path)
    checkpoints, like = Checkpoints(tmp_path), agents(range(100, 108))
    assert checkpoints.newest_step() == 7
    state = checkpoints.restore("agent", like)
    assert_same_layout(state, layouts(like))
    assert identical(state, agents(SEEDS).replace(step=jnp.int32(7)))
    assert identical(
        checkpoints.restore("replay", filled_rows(filled_replay(SEEDS))), filled_rows(filled_replay(SEEDS))
    )


def division_case():
    for seeds, used in ((3, 3), (6, 6), (12, 6), (16, 8)):
        mesh, keys = seed_mesh(seeds), stream_keys(range(seeds), "update")
        assert mesh.shape == {SEED_AXIS: used}
        assert {shard.data.shape for shard in shard_seeds(keys, mesh).addressable_shards} == {(seeds // used,)}
    state, observations = agents(range(6)), jnp.ones((6, OBSERVATIONS))
    assert_close(act_seeds(shard_seeds(state, seed_mesh(6)), np.asarray(observations)), act_seeds(state, observations))
    assert seed_mesh(1) is None
    assert seed_mesh(11) is None


def test_devices_divide_the_seeds():
    on_eight_devices(division_case)


def recorder_case():
    before = agents(SEEDS)
    apart = _apart(shard_seeds(before, seed_mesh(len(SEEDS))))
    assert {leaf.sharding for leaf in jax.tree.leaves(apart)} == {SingleDeviceSharding(jax.devices()[0])}
    assert identical(apart, before)


def test_what_is_recorded_is_on_one_device():
    on_eight_devices(recorder_case)


@pytest.mark.parametrize(
    ("seeds", "cores", "devices"), [(1, 8, 1), (8, 1, 1), (8, 2, 2), (3, 2, 3), (5, 2, 5), (6, 4, 6), (2, 8, 2)]
)
def test_a_cpu_is_divided_into_devices_that_divide_the_seeds(seeds, cores, devices):
    assert devices_for(seeds, cores) == devices


def spread_case():
    sharding.usable_cores = lambda: [0, 1]
    spread_seeds(3)
    assert len(jax.local_devices()) == 3
    assert set(ONE_THREAD) <= set(os.environ["XLA_FLAGS"].split())
    keys, data = stream_keys(range(3), "update"), make_batch(9, rows=50)
    expected, _ = make_offline_updates(algorithms.smac(), 8, 3)(agents(range(3)), keys, data)
    mesh = seed_mesh(3)
    state, keys, data = shard_seeds(agents(range(3)), mesh), shard_seeds(keys, mesh), replicate(data, mesh)
    state, _ = make_offline_updates(algorithms.smac(), 8, 3, mesh)(state, keys, data)
    assert_close(state, expected)


def test_seeds_that_the_cores_do_not_divide_are_spread_over_them():
    in_process(spread_case)


def undivided_case(seeds):
    sharding.usable_cores = lambda: [0, 1]
    before = os.environ["XLA_FLAGS"], len(jax.local_devices()) if "count" in os.environ["XLA_FLAGS"] else 1
    spread_seeds(int(seeds))
    assert (os.environ["XLA_FLAGS"], len(jax.local_devices())) == before


@pytest.mark.parametrize(
    ("seeds", "flags"), [(1, ""), (2, " ".join(ONE_THREAD)), (2, "--xla_force_host_platform_device_count=4")]
)
def test_a_single_seed_and_what_the_user_has_set_divide_nothing(seeds, flags):
    in_process(undivided_case, seeds, flags=flags)


def test_idle_devices_are_named(caplog):
    assert seed_mesh(6, [jax.devices()[0]] * 4).size == 3
    assert "3 of 4 devices" in caplog.text


def test_one_device_leaves_everything_where_it_is(caplog):
    mesh = seed_mesh(8, jax.devices()[:1])
    keys, data = stream_keys(SEEDS, "update"), make_batch()
    assert mesh is None
    assert shard_seeds(keys, mesh) is keys
    assert replicate(data, mesh) is data
    assert not caplog.text
