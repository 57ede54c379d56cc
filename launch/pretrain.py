"""Pre-train an actor and a critic on a Minari dataset.

    python -m launch.pretrain --config=configs/smac.py:locomotion --dataset=MINARI_ID --workdir=DIR --seeds=0,1,2

Any field of the configuration is set by --config.a.b=value. The same command again goes on where it stopped.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import jax
from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from launch import checks, config_file, program, session, stored
from launch.recorder import Recorder
from launch.summary import write_offline_summary
from smac_jax.agent import imitation
from smac_jax.errors import InputError
from smac_jax.io.checkpoints import Checkpoints
from smac_jax.io.logger import RunLogger
from smac_jax.io.workdir import SUMMARY_FILE, hold
from smac_jax.keys import stream_keys
from smac_jax.sharding import replicate, seed_mesh, shard_seeds, spread_seeds
from smac_jax.training.offline import make_offline_updates
from smac_jax.types import Info

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, configs/ALGO.py:TASK.")
_DATASET = flags.DEFINE_string("dataset", None, "Id of the Minari dataset.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run; made if missing.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds, trained together: --seeds=0,1,2.")
_DOWNLOAD = flags.DEFINE_bool("download", False, "Download the dataset if it is not local.")


def updates_per_call(config: ConfigDict, eval_every: int) -> int:
    """The largest number of updates that divides all intervals, between which the program looks up."""
    intervals = (config.offline.steps, eval_every, config.eval.early_every, config.log_every, config.checkpoint_every)
    updates = math.gcd(*intervals)
    if updates < 50 <= max(intervals) // 10:
        logging.warning(
            "intervals %s have only %d in common; multiples of a larger number run faster", intervals, updates
        )
    return updates


def training(config: ConfigDict, source: session.Source, workdir: Path, seeds: list[int]) -> Iterator[int]:
    """Train all seeds offline, or go on where an earlier call stopped; writes the files of the contract.

    Yields:
        The number of updates so far, several at a time. A caller that stops asking stops the training.
    """
    terms = checks.make_offline_terms(config)
    dims = session.data_dims(source.data)
    steps, eval_every = config.offline.steps, config.eval.every or max(config.offline.steps // 10, 1)
    chunk = updates_per_call(config, eval_every)
    is_evaluated = session.evaluated_steps(config, steps, eval_every)
    evaluate = session.make_evaluator(source.env_spec, source.task, seeds, config.eval.episodes, dims)
    run = {**session.run_record(source, seeds), "program": "pretrain", "config": config.to_dict()}
    with hold(workdir, run, stored.completed) as begun:
        if (workdir / SUMMARY_FILE).exists():
            print(f"{workdir} is complete")
            return

        mesh = seed_mesh(len(seeds))
        state = shard_seeds(session.make_agents(config, seeds, dims, source.data.standardizer), mesh)
        checkpoints = Checkpoints(workdir)
        start = checkpoints.latest_step
        watch = session.Stopwatch(checkpoints.counters()["seconds"] if start is not None else None)
        if start is not None:
            state = checkpoints.restore("agent", state)
        logger = RunLogger(workdir, "offline", seeds, -1 if begun and start is None else start)

        infos: list[Info] = []
        keys, data = shard_seeds(stream_keys(seeds, "update"), mesh), replicate(source.data.batch, mesh)
        with watch.measure("compile"):
            updates = make_offline_updates(terms, config.batch_size, chunk, mesh).lower(state, keys, data).compile()

        with (
            session.progress_bar(steps, start or 0, "updates", "pretrain") as bar,
            Recorder(
                lambda agent, step: evaluate(imitation(agent), step), logger, checkpoints, watch, bar.write
            ) as recorder,
        ):
            if start is None:
                recorder.record(0, state, evaluated=True)
            for step in range((start or 0) + chunk, steps + 1, chunk):
                with watch.measure("update"):
                    state, info = updates(state, keys, data)
                    jax.block_until_ready(state)
                infos.append(info)
                bar.update(chunk)
                recorder.check()
                is_recorded = is_evaluated(step) or step % config.checkpoint_every == 0
                if is_recorded or step % config.log_every == 0:
                    session.log_infos(logger, step, infos)
                    infos = []
                if is_recorded:
                    recorder.record(step, state, is_evaluated(step))
                yield step
        logger.close()
        checkpoints.close()
        write_offline_summary(workdir, config, source.dataset_id, seeds, watch)


def pretrain(config: ConfigDict, source: session.Source, workdir: Path, seeds: list[int]) -> None:
    """Go through `training` to its end."""
    for _ in training(config, source, workdir, seeds):
        pass


def main() -> None:
    """Entry point."""
    if _CONFIG.value is None:
        raise InputError("--config is missing; give configs/ALGO.py:TASK, such as configs/smac.py:locomotion")
    dataset, workdir = program.required(_DATASET), Path(program.required(_WORKDIR))
    seeds = program.parse_seeds(_SEEDS.value)
    spread_seeds(len(seeds))
    source = session.load_source(dataset, _CONFIG.value, _DOWNLOAD.value)
    session.warn_of_kappa(_CONFIG.value, source.data.batch.mc_returns)
    pretrain(_CONFIG.value, source, workdir, seeds)


if __name__ == "__main__":
    program.run(main, config_file.parse, goes_on=True)
