"""Find the runs below a directory and read what they recorded."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from smac_jax.envs.tasks import GENERIC, TASKS, reference_returns
from smac_jax.errors import InputError
from smac_jax.io.records import read_rows
from smac_jax.io.workdir import CONFIG_FILE, SUMMARY_FILE, read_json

OFFLINE_METRICS = "offline_metrics.csv"
RAW_RETURN = "raw return"

_SUMMARY_FIELDS = {"algorithm", "online_algorithm", "dataset", "seeds", "offline_score", "final_score"}
_UNITS = {
    "success": "success rate",
    "completions": "share of tasks completed",
    "normalized_return": "D4RL-normalised / 100",
    "raw_return": RAW_RETURN,
}


class Curve(NamedTuple):
    """Scores over steps.

    Attributes:
        steps: (K,).
        scores: (S, K), one row a seed.
    """

    steps: np.ndarray
    scores: np.ndarray


class Run(NamedTuple):
    """A finished run.

    Attributes:
        workdir: its directory.
        dataset: Minari id.
        algorithm: offline method.
        online_algorithm: None for a pre-training.
        unit: what the score is, in words; `RAW_RETURN` where it is not a share.
        settings: everything but the seeds that made the run what it is; None where that was not kept.
        offline: curve of the pre-training, None if it was not recorded.
        online: curve of the fine-tuning, None for a pre-training.
        summary: content of summary.json.
    """

    workdir: Path
    dataset: str
    algorithm: str
    online_algorithm: str | None
    unit: str
    settings: str | None
    offline: Curve | None
    online: Curve | None
    summary: dict[str, Any]


def read_curve(path: Path, phase: str) -> Curve | None:
    """The curve of one phase in a metrics file; steps that not every seed has are left out."""
    by_seed: dict[int, dict[int, float]] = {}
    for row in read_rows(path):
        if row["phase"] == phase:
            by_seed.setdefault(int(row["seed"]), {})[int(row["step"])] = float(row["score"])
    steps = sorted(set.intersection(*(set(scores) for scores in by_seed.values()))) if by_seed else []
    if not steps:
        return None
    return Curve(np.array(steps), np.array([[scores[step] for step in steps] for scores in by_seed.values()]))


def score_unit(task_name: str, env_id: str | None) -> str:
    """What a score of a task means; an environment that the task does not know is scored by its return."""
    task = TASKS.get(task_name, GENERIC)
    if env_id is not None:
        if not env_id.startswith(task.env_prefixes):
            task = GENERIC
        elif task.score == "normalized_return" and reference_returns(env_id) is None:
            return RAW_RETURN
    return _UNITS[task.score]


def _read_or_pass_over(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one, with a notice, where the file is broken: it may be another program's."""
    try:
        return read_json(path)
    except InputError as error:
        logging.warning("passed over: %s", error)
        return {}


def _read_run(workdir: Path, summary: dict[str, Any]) -> Run:
    # Results that are kept without their configuration, as in docs/, can still be reported.
    config = workdir / CONFIG_FILE
    record = _read_or_pass_over(config).get("run") if config.exists() else None
    record = record if isinstance(record, dict) else {}
    env_spec = record.get("env_spec")
    online = summary["online_algorithm"]
    return Run(
        workdir=workdir,
        dataset=summary["dataset"],
        algorithm=summary["algorithm"],
        online_algorithm=online,
        unit=score_unit(summary.get("task", GENERIC.name), json.loads(env_spec)["id"] if env_spec else None),
        settings=json.dumps({**record, "seeds": None}, sort_keys=True) if record else None,
        offline=read_curve(workdir / (OFFLINE_METRICS if online else "metrics.csv"), "offline"),
        online=read_curve(workdir / "metrics.csv", "online") if online else None,
        summary=summary,
    )


def find_runs(directory: Path) -> list[Run]:
    """All finished runs in a directory and below, in order of their paths.

    Raises:
        InputError: there is none.
    """
    summaries = {path.parent: _read_or_pass_over(path) for path in sorted(directory.rglob(SUMMARY_FILE))}
    # Other programs' directories may hold a summary.json, too.
    runs = [_read_run(path, summary) for path, summary in summaries.items() if summary.keys() >= _SUMMARY_FIELDS]
    if not runs:
        raise InputError(f"{directory} holds no finished run; run pretrain or finetune with a --workdir below it")
    return runs


def find_unfinished(directory: Path) -> list[Path]:
    """Directories of runs that were begun and have no summary yet, in order."""
    begun = (path.parent for path in sorted(directory.rglob(CONFIG_FILE)))
    return [
        workdir
        for workdir in begun
        if not (workdir / SUMMARY_FILE).exists()
        and isinstance(run := _read_or_pass_over(workdir / CONFIG_FILE).get("run"), dict)
        and run.get("program") in ("pretrain", "finetune")
    ]
