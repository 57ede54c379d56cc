"""Fine-tune a pre-trained actor and critic online.

    python -m launch.finetune --checkpoint=DIR_OF_PRETRAIN --algorithm=sac --workdir=DIR
    python -m launch.finetune --algorithm=rlpd --config=configs/rlpd.py:TASK --dataset=ID --seeds=0,1 --workdir=DIR

Networks, data and seeds are those of the checkpoint; fields of terms, online, eval, batch_size and the learning rates
are set by --config.a.b=value. The data need not be there where no batch draws from them (online.offline_fraction of 0),
unless their returns scale the rewards. rlpd has no offline phase: it takes a configuration, a dataset and seeds
instead, or, given a checkpoint, the task, data and seeds of that. The same command again goes on where it stopped.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from configs import finetune as online_methods
from launch import config_file, program, session, stored
from launch.interaction import (
    Setting,
    filled_copy,
    make_calls,
    make_collector,
    needs_dataset,
    recorded_setting,
    setting_of,
)
from launch.load import hand_over
from launch.recorder import Recorder
from launch.summary import write_online_summary
from smac_jax.data.replay import create_replay, with_capacity
from smac_jax.errors import InputError
from smac_jax.io.checkpoints import Checkpoints
from smac_jax.io.logger import METRICS, RunLogger
from smac_jax.io.workdir import SUMMARY_FILE, hold, read_run
from smac_jax.report.collect import OFFLINE_METRICS
from smac_jax.sharding import seed_mesh, shard_seeds, spread_seeds
from smac_jax.training.online import online_step
from smac_jax.types import Info

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Working directory of a pretrain run.")
_ALGORITHM = flags.DEFINE_enum(
    "algorithm", "sac", [*online_methods.ALGORITHMS, *online_methods.FROM_SCRATCH], "Online method."
)
_DATASET = flags.DEFINE_string("dataset", None, "Id of the Minari dataset, for a method without checkpoint.")
_SEEDS = flags.DEFINE_list("seeds", None, "Seeds, for a method without checkpoint; 0 if not given.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run; made if missing.")
_DOWNLOAD = flags.DEFINE_bool("download", False, "Download the dataset if it is not local.")


def pretrained_run(checkpoint: Path) -> dict[str, Any]:
    """The `run` record of a pre-training.

    Raises:
        InputError: the directory is not that of a pretrain run.
    """
    run = read_run(checkpoint)
    if run["program"] != "pretrain":
        raise InputError(f"{checkpoint} is a run of {run['program']}; give the directory of a pretrain run")
    return run


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parse the command line; the configuration's defaults are the checkpoint's with the online method's terms.

    Raises:
        InputError: the checkpoint cannot be read, or an override of something it has settled.
    """
    flags.FLAGS(list(argv), known_only=True)
    own = online_methods.FROM_SCRATCH.get(_ALGORITHM.value)
    if own is not None:
        return _parse_without_weights(argv, own)
    if _DATASET.value is not None or _SEEDS.value is not None:
        raise InputError(f"--dataset and --seeds of {_ALGORITHM.value} are those of its --checkpoint; leave them out")
    config = stored.stored_config(pretrained_run(Path(program.required(_CHECKPOINT))))
    _refuse_config_file(argv)
    config_flags.DEFINE_config_dict("config", online_methods.from_checkpoint(config, _ALGORITHM.value))
    rest = list(flags.FLAGS(list(argv)))
    for name in program.overrides():
        if online_methods.is_settled(name):
            raise InputError(f"--config.{name} is settled by the checkpoint; pretrain with it instead")
    return rest


def _refuse_config_file(argv: Sequence[str]) -> None:
    if program.flag_values(argv, "config"):
        raise InputError("--config is that of the --checkpoint; set its fields by --config.a.b=value, or leave it out")


def _parse_without_weights(argv: Sequence[str], own: Any) -> list[str]:
    """Parse the command line of a method that starts from scratch."""
    if _CHECKPOINT.value is None:
        if not program.flag_values(argv, "config"):
            raise InputError(
                f"{_ALGORITHM.value} starts from scratch: give --config=configs/{_ALGORITHM.value}.py:TASK and "
                "--dataset, or a --checkpoint whose task, data and seeds it takes"
            )
        config_flags.DEFINE_config_file(
            "config", None, "Configuration file of the method, such as configs/rlpd.py:TASK."
        )
        return config_file.parse(argv, _ALGORITHM.value)
    config = stored.stored_config(pretrained_run(Path(_CHECKPOINT.value)))
    _refuse_config_file(argv)
    logging.warning(
        "%s starts from scratch: of %s only task, data and seeds are used", _ALGORITHM.value, _CHECKPOINT.value
    )
    config_flags.DEFINE_config_dict("config", own.get_config(config.preset))
    return list(flags.FLAGS(list(argv)))


def finetune(config: ConfigDict, run: dict[str, Any], checkpoint: Path | None, setting: Setting, workdir: Path) -> None:
    """Train all seeds online, or go on where an earlier call stopped; writes the files of the contract.

    Args:
        config: of the online phase.
        run: dataset, seeds and environment, for the run's record.
        checkpoint: working directory of the pre-training; None to start from scratch.
        setting: environment, and the dataset where batches draw from it.
        workdir: of this run.
    """
    seeds, dims = run["seeds"], stored.stored_dims(run)
    steps, warmup = config.online.steps, config.online.warmup_steps
    eval_every = config.eval.every or max(steps // 20, 1)
    is_evaluated = session.evaluated_steps(config, steps, eval_every)
    evaluate = session.make_evaluator(setting.env_spec, setting.task, seeds, config.eval.episodes, dims)
    offline = Checkpoints(checkpoint, create=False) if checkpoint else None
    pretrained = run
    run = {
        **run,
        "program": "finetune",
        "config": config.to_dict(),
        "checkpoint_step": offline.newest_step() if offline else None,
    }
    with hold(workdir, run, stored.completed) as begun:
        if (workdir / SUMMARY_FILE).exists():
            print(f"{workdir} is complete")
            return

        mesh = seed_mesh(len(seeds))
        agents = session.make_agents(config, seeds, dims, setting.standardizer)
        state = shard_seeds(agents, mesh)
        capacity = config.online.replay_capacity or steps
        replay = shard_seeds(create_replay(len(seeds), capacity, *dims), mesh)
        collector = make_collector(setting, seeds)
        checkpoints = Checkpoints(workdir)
        start = checkpoints.latest_step
        if start is None:
            watch = session.Stopwatch()
            collector.reset()
            if offline and checkpoint:
                state = hand_over(offline, pretrained, state)
                shutil.copyfile(checkpoint / METRICS, workdir / OFFLINE_METRICS)
        else:
            counters = checkpoints.counters()
            watch = session.Stopwatch(counters["seconds"])
            state = checkpoints.restore("agent", state)
            filled = shard_seeds(create_replay(len(seeds), counters["replay_rows"], *dims), mesh)
            replay = shard_seeds(with_capacity(checkpoints.restore("replay", filled), capacity), mesh)
            collector.restore(checkpoints.restore("collector", collector.record()))
        if offline:
            offline.close()
        logger = RunLogger(workdir, "online", seeds, -1 if begun and start is None else start)

        with watch.measure("compile"):
            calls = make_calls(config, setting, state, replay, seeds, mesh)

        infos: list[Info] = []
        with (
            session.progress_bar(steps, start or 0, "steps", f"finetune {config.online_algorithm}") as bar,
            Recorder(evaluate, logger, checkpoints, watch, bar.write) as recorder,
        ):

            def record(step: int) -> None:
                saved = filled_copy(replay)
                counters = {"replay_rows": saved.capacity}
                recorder.record(step, state, is_evaluated(step), counters, replay=saved, collector=collector.record())

            if start is None:
                record(0)
            for step in range((start or 0) + 1, steps + 1):
                with watch.measure("warmup" if step <= warmup else "train"):
                    state, replay, info, outcomes = online_step(state, replay, collector, calls, step, warmup)
                if info is not None:
                    infos.append(info)
                if outcomes:
                    logger.train_episodes(step, outcomes)
                bar.update()
                is_recorded = is_evaluated(step) or step % config.checkpoint_every == 0
                if is_recorded or step % config.log_every == 0:
                    session.log_infos(logger, step, infos)
                    infos = []
                    recorder.check()
                if is_recorded:
                    record(step)
        logger.close()
        checkpoints.close()
        write_online_summary(workdir, config, setting.dataset_id, seeds, watch)


def train_from_scratch(config: ConfigDict, workdir: Path) -> None:
    """Train online by a method without offline phase, with the dataset beside the replay."""
    config = online_methods.from_scratch(config, _ALGORITHM.value)
    if _CHECKPOINT.value is None:
        dataset, seeds = program.required(_DATASET), program.parse_seeds(_SEEDS.value or ["0"])
    else:
        pretrained = pretrained_run(Path(_CHECKPOINT.value))
        dataset, seeds = pretrained["dataset"], pretrained["seeds"]
    spread_seeds(len(seeds))
    source = session.load_source(dataset, config, _DOWNLOAD.value)
    finetune(config, session.run_record(source, seeds), None, setting_of(source, config), workdir)


def open_setting(config: ConfigDict, pretrained: dict[str, Any], checkpoint: Path) -> Setting:
    """The setting beside the dataset of a pre-training.

    Raises:
        InputError: the dataset cannot be opened, or is another by now.
    """
    source = session.load_source(pretrained["dataset"], config, _DOWNLOAD.value)
    if source.data.content_hash != pretrained["dataset_sha256"]:
        raise InputError(
            f"{pretrained['dataset']} is not the dataset that {checkpoint} was trained on (its content differs); "
            "point MINARI_DATASETS_PATH at the original, or pretrain again"
        )
    return setting_of(source, config)


def main() -> None:
    """Entry point."""
    config, workdir = flags.FLAGS["config"].value, Path(program.required(_WORKDIR))
    if _ALGORITHM.value in online_methods.FROM_SCRATCH:
        train_from_scratch(config, workdir)
        return
    checkpoint = Path(program.required(_CHECKPOINT))
    pretrained = pretrained_run(checkpoint)
    spread_seeds(len(pretrained["seeds"]))
    if not (checkpoint / SUMMARY_FILE).exists():
        logging.warning("%s has not finished; its newest checkpoint is fine-tuned", checkpoint)
    setting = (
        open_setting(config, pretrained, checkpoint) if needs_dataset(config) else recorded_setting(pretrained, config)
    )
    finetune(config, pretrained, checkpoint, setting, workdir)


if __name__ == "__main__":
    program.run(main, parse_flags, goes_on=True)
