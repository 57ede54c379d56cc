"""One row of ours: environment steps with updates, by the loop of `launch.finetune`, or the steps alone.

    python -m launch.peers.online_worker '{"method": "online-sac", "optimizer": "adam", "hidden_dims": [256, 256], ...}'

The agent is what the other libraries train: without LayerNorm and score model, from replay alone, from scratch.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import jax
import numpy as np

from launch.interaction import Setting, make_calls, make_collector
from launch.peers.conditions import ENVIRONMENT, EXPLORATION_NOISE, REPLAY_CAPACITY, STEPS_PER_CALL, WARM_UP
from launch.session import make_agents, make_terms
from launch.speed_worker import make_config
from smac_jax.data.replay import create_replay
from smac_jax.envs.tasks import get_task
from smac_jax.speed import names
from smac_jax.speed.data import ACTION_DIM, OBSERVATION_DIM
from smac_jax.speed.flops import Sizes, update_flops
from smac_jax.speed.workers import open_channel, serve
from smac_jax.training.online import Calls, online_step

METHODS = {"online-sac": "sac", "online-td3": "td3"}
"""Online method of `configs.finetune` by method of the row."""
_ALIKE = {
    "network.critic_layer_norm": False,
    "network.denoiser": False,
    "online.offline_fraction": 0.0,
    "online.updates_per_step": 1,
    "online.warmup_steps": WARM_UP,
    "online.replay_capacity": REPLAY_CAPACITY,
}

PROFILED_STEPS = 200
"""Steps whose parts are timed, each waited for, so that they take a little longer than those that are measured."""


def make_setting(task: str) -> Setting:
    """The environment, of which all that is learned from comes."""
    spec = gymnasium.spec(ENVIRONMENT)
    return Setting("", get_task(task, spec), spec, reward_scale=1.0)


def _timed(name: str, call: Callable[..., Any], seconds: dict[str, float]) -> Callable[..., Any]:
    """The call, waited for, whose time is added to its name's."""

    def timed(*arguments: Any) -> Any:
        start = time.perf_counter()
        result = jax.block_until_ready(call(*arguments))
        seconds[name] += time.perf_counter() - start
        return result

    return timed


def prepare(row: Mapping[str, Any]) -> tuple[dict[str, Any], Callable[[], int], Callable[[], dict[str, Any]]]:
    """Make agent and environment, compile and warm up.

    Returns:
        What to say of it, the function that makes some updates, and the one that says where a step's time goes.
    """
    method = METHODS[row["method"]]
    config = make_config({**row, "method": method, "overrides": {**_ALIKE, **row["overrides"]}})
    if method == "td3":
        config.online.exploration_noise = EXPLORATION_NOISE
    seeds, setting = list(range(row["seeds"])), make_setting(config.task)
    dims = OBSERVATION_DIM, ACTION_DIM
    agent = make_agents(config, seeds, dims)
    replay = create_replay(len(seeds), config.online.replay_capacity, *dims)
    collector = make_collector(setting, seeds)
    collector.reset()
    jax.block_until_ready((agent, replay))

    start = time.perf_counter()
    calls = make_calls(config, setting, agent, replay, seeds)
    compile_seconds = time.perf_counter() - start
    done = 0

    updates_per_step = config.online.updates_per_step
    steps_per_call = max(STEPS_PER_CALL // updates_per_step, 1)

    def run(steps: int = steps_per_call) -> int:
        nonlocal agent, replay, done
        for step in range(done + 1, done + steps + 1):
            agent, replay, *_ = online_step(agent, replay, collector, calls, step, config.online.warmup_steps)
        jax.block_until_ready((agent, replay))
        done += steps
        return steps * updates_per_step * len(seeds)

    run(config.online.warmup_steps)
    run()
    sizes = Sizes(*dims, config.network.hidden_dims, config.network.critics, config.batch_size)
    flops = update_flops(make_terms(config), sizes)

    def profile() -> dict[str, Any]:
        nonlocal calls
        seconds = dict.fromkeys(calls._fields, 0.0)
        calls = Calls(*(_timed(name, call, seconds) for name, call in calls._asdict().items()))
        start = time.perf_counter()
        run(PROFILED_STEPS)
        seconds["environment"] = time.perf_counter() - start - sum(seconds.values())
        return {"step_parts": {name: spent / PROFILED_STEPS for name, spent in seconds.items()}}

    return {"compile_seconds": compile_seconds, "flops_per_update": flops}, run, profile


def prepare_environment(row: Mapping[str, Any]) -> tuple[dict[str, Any], Callable[[], int]]:
    """Make the environments alone and step them with random actions, as the loop does."""
    collector = make_collector(make_setting("locomotion"), list(range(row["seeds"])))
    collector.reset()
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (STEPS_PER_CALL, row["seeds"], ACTION_DIM))

    def run() -> int:
        for step_actions in actions.astype(np.float32):
            collector.step(step_actions)
        return len(actions) * row["seeds"]

    return {"compile_seconds": None, "flops_per_update": None}, run


def main() -> None:
    """Entry point."""
    row = json.loads(sys.argv[1])
    # A compilation that is read from a cache is none.
    jax.config.update("jax_enable_compilation_cache", False)
    with open_channel() as channel:
        serve(channel, *(prepare_environment if row["method"] == names.ENVIRONMENT else prepare)(row))


if __name__ == "__main__":
    main()
