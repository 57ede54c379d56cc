"""Fine-tune a pre-trained actor and critic online.

    python -m launch.finetune --checkpoint=DIR_OF_PRETRAIN --algorithm=sac --workdir=DIR

Networks, data and seeds are those of the checkpoint; fields of terms, online, eval, batch_size and the learning rates
are set by --config.a.b=value. The same command again goes on where it stopped.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from configs import finetune as online_methods
from launch import program, session
from launch.summary import write_online_summary
from smac_jax.agent import AgentState, act_seeds
from smac_jax.data.replay import create_replay, filled_rows, with_capacity
from smac_jax.envs.collector import Collector
from smac_jax.envs.make import make_vector_env
from smac_jax.errors import InputError
from smac_jax.io.checkpoints import Checkpoints
from smac_jax.io.logger import METRICS, RunLogger
from smac_jax.io.workdir import SUMMARY_FILE, claim, read_run
from smac_jax.keys import episode_seed, fold_seeds, stream_keys
from smac_jax.report.collect import OFFLINE_METRICS
from smac_jax.training.online import insert_transitions, make_online_updates, to_batch

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Working directory of a pretrain run.")
_ALGORITHM = flags.DEFINE_enum("algorithm", "sac", list(online_methods.ALGORITHMS), "Online method.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run; made if missing.")
_DOWNLOAD = flags.DEFINE_bool("download", False, "Download the dataset if it is not local.")


# What the checkpoint has settled: its arrays would not fit, or not mean the same, under other values.
_SETTLED = (
    "algorithm",
    "online_algorithm",
    "task",
    "network",
    "reward",
    "temperature",
    "kappa",
    "offline",
    "optimizer.name",
    "terms.discount",
)


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
    config = session.stored_config(pretrained_run(Path(program.required(_CHECKPOINT))))
    config_flags.DEFINE_config_dict("config", online_methods.apply(config, _ALGORITHM.value))
    rest = list(flags.FLAGS(list(argv)))
    for name in program.overrides():
        if any(name == settled or name.startswith(f"{settled}.") for settled in _SETTLED):
            raise InputError(f"--config.{name} is settled by the checkpoint; pretrain with it instead")
    return rest


def finetune(
    config: ConfigDict, pretrained: dict[str, Any], checkpoint: Path, source: session.Source, workdir: Path
) -> None:
    """Fine-tune all seeds online, or go on where an earlier call stopped; writes the files of the contract."""
    session.check_config(config)
    terms, seeds, dims = session.make_terms(config), pretrained["seeds"], session.data_dims(source.data)
    steps, warmup = config.online.steps, config.online.warmup_steps
    eval_every = config.eval.every or max(steps // 20, 1)
    log_every = session.common_interval(steps, eval_every, config.log_every, config.checkpoint_every)
    evaluate = session.make_evaluator(source.env_spec, source.task, seeds, config.eval.episodes, dims)
    offline = Checkpoints(checkpoint, create=False)
    run = {
        **pretrained,
        "program": "finetune",
        "config": config.to_dict(),
        "checkpoint_step": offline.newest_step(),
    }
    begun = claim(workdir, run)
    if (workdir / SUMMARY_FILE).exists():
        print(f"{workdir} is complete")
        return

    state = session.make_agents(config, seeds, dims, source.data.standardizer)
    capacity = config.online.replay_capacity or steps
    replay = create_replay(len(seeds), capacity, *dims)
    episode_seeds = [lambda episode, seed=seed: episode_seed(seed, "train", episode) for seed in seeds]
    env = make_vector_env(source.env_spec, source.task, len(seeds))
    collector = Collector(env, episode_seeds, source.task.horizon(source.env_spec))
    checkpoints = Checkpoints(workdir)
    start = checkpoints.latest_step
    if start is None:
        watch = session.Stopwatch()
        state = offline.restore("agent", state)
        collector.reset()
        shutil.copyfile(checkpoint / METRICS, workdir / OFFLINE_METRICS)
    else:
        counters = checkpoints.counters()
        watch = session.Stopwatch(counters["seconds"])
        state = checkpoints.restore("agent", state)
        filled = create_replay(len(seeds), counters["replay_rows"], *dims)
        replay = with_capacity(checkpoints.restore("replay", filled), capacity)
        collector.restore(checkpoints.restore("collector", collector.record()))
    offline.close()
    logger = RunLogger(workdir, "online", seeds, -1 if begun and start is None else start)

    update_keys, act_keys, data = stream_keys(seeds, "update"), stream_keys(seeds, "act"), source.data.batch
    noise = config.online.exploration_noise

    def explore(state: AgentState, observations: jax.Array, keys: jax.Array, step: jax.Array) -> jax.Array:
        return act_seeds(state, observations, fold_seeds(keys, step), noise)

    with watch.measure("compile"):
        make_updates = make_online_updates(
            terms, config.batch_size, config.online.offline_fraction, config.online.updates_per_step
        )
        updates = make_updates.lower(state, replay, update_keys, data).compile()
        act = jax.jit(explore).lower(state, collector.observations, act_keys, np.int32(0)).compile()

    def evaluate_and_save(step: int, bar: session.tqdm) -> None:
        if step % eval_every == 0 or step == steps:
            with watch.measure("evaluate"):
                results = evaluate(state, step)
            logger.evaluation(step, results, watch.wall)
            bar.write(f"step {step}: {session.describe(results)}")
        elif step % config.checkpoint_every != 0:
            return
        saved = filled_rows(replay)
        counters = {"seconds": watch.record(), "replay_rows": saved.capacity}
        checkpoints.save(step, counters, agent=state, replay=saved, collector=collector.record())

    infos: list[Any] = []
    with session.progress_bar(steps, start or 0, "steps", f"finetune {config.online_algorithm}") as bar:
        if start is None:
            evaluate_and_save(0, bar)
        for step in range((start or 0) + 1, steps + 1):
            with watch.measure("warmup" if step <= warmup else "train"):
                actions = np.asarray(act(state, collector.observations, act_keys, np.int32(step)))
                transitions, outcomes = collector.step(actions)
                replay = insert_transitions(replay, to_batch(transitions, config.reward.scale, config.reward.shift))
                if step > warmup:
                    state, info = updates(state, replay, update_keys, data)
                    infos.append(info)
            if outcomes:
                logger.train_episodes(step, outcomes)
            bar.update()
            if step % log_every == 0 or step == steps:
                session.log_infos(logger, step, infos)
                infos = []
                evaluate_and_save(step, bar)
    logger.close()
    checkpoints.close()
    write_online_summary(workdir, config, source.dataset_id, seeds, watch)


def main() -> None:
    """Entry point."""
    config, checkpoint = flags.FLAGS["config"].value, Path(program.required(_CHECKPOINT))
    workdir = Path(program.required(_WORKDIR))
    pretrained = pretrained_run(checkpoint)
    if not (checkpoint / SUMMARY_FILE).exists():
        logging.warning("%s has not finished; its newest checkpoint is fine-tuned", checkpoint)
    source = session.load_source(pretrained["dataset"], config, _DOWNLOAD.value)
    if source.data.content_hash != pretrained["dataset_sha256"]:
        raise InputError(
            f"{pretrained['dataset']} is not the dataset that {checkpoint} was trained on (its content differs); "
            "point MINARI_DATASETS_PATH at the original, or pretrain again"
        )
    finetune(config, pretrained, checkpoint, source, workdir)


if __name__ == "__main__":
    program.run(main, parse_flags)
