"""summary.json of a run, from the records it wrote."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from launch.session import Stopwatch
from smac_jax.io.logger import EPISODES, METRICS, TRAIN_EPISODES
from smac_jax.io.records import read_rows
from smac_jax.io.workdir import SUMMARY_FILE, write_json
from smac_jax.measures import drop, drop_noise, regret
from smac_jax.training.online import has_update


def _scores(path: Path, seed: int, step: int | None = None) -> list[float]:
    """Scores of one seed in a record, in order; of one step only if it is given."""
    rows = (row for row in read_rows(path) if int(row["seed"]) == seed)
    return [float(row["score"]) for row in rows if step is None or int(row["step"]) == step]


def _common(config: ConfigDict, dataset_id: str, seeds: Sequence[int], watch: Stopwatch) -> dict[str, Any]:
    return {
        "algorithm": config.algorithm,
        "online_algorithm": None,
        "task": config.task,
        "dataset": dataset_id,
        "seeds": list(seeds),
        "compile_seconds": watch.spent["compile"],
        "wall_time": watch.wall,
    }


def _by_seed(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})"


def write_offline_summary(
    workdir: Path, config: ConfigDict, dataset_id: str, seeds: Sequence[int], watch: Stopwatch
) -> None:
    """Write the summary of a pre-training and print its main line; online measures are null."""
    scores = [_scores(workdir / METRICS, seed) for seed in seeds]
    final = [seed_scores[-1] for seed_scores in scores]
    nothing = [None] * len(seeds)
    summary = {
        **_common(config, dataset_id, seeds, watch),
        "offline_score": final,
        "final_score": final,
        "min_score": [min(seed_scores) for seed_scores in scores],
        "drop": nothing,
        "drop_noise": nothing,
        "regret": nothing,
        "train_regret": nothing,
        "updates_per_second": watch.rate(config.offline.steps, "update"),
        "env_steps_per_second": None,
    }
    write_json(workdir / SUMMARY_FILE, summary)
    print(
        f"offline score {_by_seed(final)}; {summary['updates_per_second']:.0f} updates/s of {len(seeds)} seed(s); "
        f"wrote {workdir / SUMMARY_FILE}"
    )


def write_online_summary(
    workdir: Path, config: ConfigDict, dataset_id: str, seeds: Sequence[int], watch: Stopwatch
) -> None:
    """Write the summary of a fine-tuning and print its main lines."""
    scores = [_scores(workdir / METRICS, seed) for seed in seeds]
    initial_episodes = [_scores(workdir / EPISODES, seed, step=0) for seed in seeds]
    updating = sum(has_update(step, config.online.warmup_steps) for step in range(1, config.online.steps + 1))
    summary = {
        **_common(config, dataset_id, seeds, watch),
        "online_algorithm": config.online_algorithm,
        "offline_score": [seed_scores[0] for seed_scores in scores],
        "final_score": [seed_scores[-1] for seed_scores in scores],
        "min_score": [min(seed_scores) for seed_scores in scores],
        "drop": [drop(seed_scores) for seed_scores in scores],
        "drop_noise": [
            drop_noise(episodes, len(seed_scores))
            for episodes, seed_scores in zip(initial_episodes, scores, strict=True)
        ],
        "regret": [regret(seed_scores) for seed_scores in scores],
        "train_regret": [regret(_scores(workdir / TRAIN_EPISODES, seed)) for seed in seeds],
        "updates_per_second": watch.rate(updating * config.online.updates_per_step, "train"),
        "env_steps_per_second": watch.rate(config.online.steps, "warmup", "train"),
    }
    write_json(workdir / SUMMARY_FILE, summary)
    for name, title in (
        ("offline_score", "offline score"),
        ("final_score", "final score"),
        ("drop", "drop"),
        ("drop_noise", "drop of an unchanged policy"),
        ("regret", "regret"),
    ):
        print(f"{title}: {_by_seed(summary[name])}")
    print(f"{summary['env_steps_per_second']:.0f} steps/s of {len(seeds)} seed(s); wrote {workdir / SUMMARY_FILE}")
