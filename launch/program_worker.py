"""One row of `launch.speed`: pre-training by the program itself, on made-up data, see `smac_jax.speed.workers`."""

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp

from launch.peers.conditions import ENVIRONMENT
from launch.pretrain import training
from launch.session import Source
from launch.speed_worker import make_config
from smac_jax.agent import Standardizer
from smac_jax.data.minari_dataset import OfflineData
from smac_jax.envs.tasks import get_task
from smac_jax.sharding import spread_seeds
from smac_jax.speed.data import OBSERVATION_DIM, TRANSITIONS, synthetic_batch
from smac_jax.speed.names import PROGRAM
from smac_jax.speed.workers import open_channel, serve

_ENDLESS = 10**9


def _make_source(task: str) -> Source:
    """The environment with made-up data."""
    spec = gymnasium.spec(ENVIRONMENT)
    standardizer = Standardizer(jnp.zeros(OBSERVATION_DIM), jnp.ones(OBSERVATION_DIM))
    data = OfflineData(synthetic_batch(TRANSITIONS), standardizer, episodes=1, reward_scale=1.0, content_hash="")
    return Source("", data, get_task(task, spec), spec)


def prepare(row: Mapping[str, Any], workdir: Path) -> tuple[dict[str, Any], Callable[[], int]]:
    """Begin the program; what to say of it, and the function that lets it go on for a while.

    Without an override of `eval.every` it evaluates at its beginning alone, which is over before it is measured.
    """
    config = make_config({**row, "method": row["method"].removeprefix(PROGRAM)})
    config.offline.steps = _ENDLESS
    evaluated = config.eval.every > 0
    config.eval.every = config.eval.every or _ENDLESS
    seeds = list(range(row["seeds"]))
    steps = training(config, _make_source(config.task), workdir, seeds)
    done = next(steps)

    def run() -> int:
        nonlocal done
        before = done
        for done in steps:
            if not evaluated or done % config.eval.every == 0:
                break
        return (done - before) * len(seeds)

    run()
    return {"compile_seconds": None, "flops_per_update": None}, run


def main() -> None:
    """Entry point."""
    row = json.loads(sys.argv[1])
    jax.config.update("jax_enable_compilation_cache", False)
    spread_seeds(row["seeds"])
    with open_channel() as channel, tempfile.TemporaryDirectory() as workdir:
        serve(channel, *prepare(row, Path(workdir) / "run"))


if __name__ == "__main__":
    main()
