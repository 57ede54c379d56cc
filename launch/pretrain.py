"""Pre-train an actor and a critic on a Minari dataset.

    python -m launch.pretrain --config=configs/smac.py:locomotion --dataset=MINARI_ID --workdir=DIR --seeds=0,1,2

Any field of the configuration is set by --config.a.b=value. The same command again goes on where it stopped.
"""

from pathlib import Path

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from launch import program, session
from launch.summary import write_offline_summary
from smac_jax.errors import InputError
from smac_jax.io.checkpoints import Checkpoints
from smac_jax.io.logger import RunLogger
from smac_jax.io.workdir import SUMMARY_FILE, claim
from smac_jax.keys import stream_keys
from smac_jax.training.offline import make_offline_updates

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, configs/ALGO.py:TASK.")
_DATASET = flags.DEFINE_string("dataset", None, "Id of the Minari dataset.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run; made if missing.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds, trained together: --seeds=0,1,2.")
_DOWNLOAD = flags.DEFINE_bool("download", False, "Download the dataset if it is not local.")


def pretrain(config: ConfigDict, source: session.Source, workdir: Path, seeds: list[int]) -> None:
    """Train all seeds offline, or go on where an earlier call stopped; writes the files of the contract."""
    session.check_config(config)
    terms = session.make_terms(config)
    dims = session.data_dims(source.data)
    steps, eval_every = config.offline.steps, config.eval.every or max(config.offline.steps // 10, 1)
    chunk = session.common_interval(steps, eval_every, config.log_every, config.checkpoint_every)
    evaluate = session.make_evaluator(source.env_spec, source.task, seeds, config.eval.episodes, dims)
    run = {**session.run_record(source, seeds), "program": "pretrain", "config": config.to_dict()}
    begun = claim(workdir, run)
    if (workdir / SUMMARY_FILE).exists():
        print(f"{workdir} is complete")
        return

    state = session.make_agents(config, seeds, dims, source.data.standardizer)
    checkpoints = Checkpoints(workdir)
    start = checkpoints.latest_step
    watch = session.Stopwatch(checkpoints.counters()["seconds"] if start is not None else None)
    if start is not None:
        state = checkpoints.restore("agent", state)
    logger = RunLogger(workdir, "offline", seeds, -1 if begun and start is None else start)

    keys, data = stream_keys(seeds, "update"), source.data.batch
    with watch.measure("compile"):
        updates = make_offline_updates(terms, config.batch_size, chunk).lower(state, keys, data).compile()

    def evaluate_and_save(step: int, bar: session.tqdm) -> None:
        if step % eval_every == 0 or step == steps:
            with watch.measure("evaluate"):
                results = evaluate(state, step)
            logger.evaluation(step, results, watch.wall)
            bar.write(f"update {step}: {session.describe(results)}")
        elif step % config.checkpoint_every != 0:
            return
        with watch.measure("checkpoint"):
            checkpoints.save(step, {"seconds": watch.record()}, agent=state)

    with session.progress_bar(steps, start or 0, "updates", "pretrain") as bar:
        if start is None:
            evaluate_and_save(0, bar)
        for step in range((start or 0) + chunk, steps + 1, chunk):
            with watch.measure("update"):
                state, infos = updates(state, keys, data)
                jax.block_until_ready(state)
            session.log_infos(logger, step, [infos])
            bar.update(chunk)
            evaluate_and_save(step, bar)
    logger.close()
    checkpoints.close()
    write_offline_summary(workdir, config, source.dataset_id, seeds, watch)


def main() -> None:
    """Entry point."""
    if _CONFIG.value is None:
        raise InputError("--config is missing; give configs/ALGO.py:TASK, such as configs/smac.py:locomotion")
    dataset, workdir = program.required(_DATASET), Path(program.required(_WORKDIR))
    seeds = program.parse_seeds(_SEEDS.value)
    source = session.load_source(dataset, _CONFIG.value, _DOWNLOAD.value)
    pretrain(_CONFIG.value, source, workdir, seeds)


if __name__ == "__main__":
    program.run(main)
