"""Find the runs below a directory and read what they recorded."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from smac_jax.errors import InputError
from smac_jax.io.records import read_rows
from smac_jax.io.workdir import CONFIG_FILE, SUMMARY_FILE, read_json

OFFLINE_METRICS = "offline_metrics.csv"


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
        label: `offline algorithm -> online algorithm`, or the offline algorithm alone.
        dataset: Minari id.
        offline: curve of the pre-training, None if it was not recorded.
        online: curve of the fine-tuning, None for a pre-training.
        summary: content of summary.json.
    """

    workdir: Path
    label: str
    dataset: str
    offline: Curve | None
    online: Curve | None
    summary: dict[str, Any]


def read_curve(path: Path, phase: str) -> Curve | None:
    """The curve of one phase in a metrics file; steps that not every seed has are left out."""
    by_seed: dict[int, dict[int, float]] = {}
    for row in read_rows(path):
        if row["phase"] == phase:
            by_seed.setdefault(int(row["seed"]), {})[int(row["step"])] = float(row["score"])
    if not by_seed:
        return None
    steps = sorted(set.intersection(*(set(scores) for scores in by_seed.values())))
    return Curve(np.array(steps), np.array([[scores[step] for step in steps] for scores in by_seed.values()]))


def read_run(workdir: Path) -> Run:
    """Read a finished run."""
    summary = read_json(workdir / SUMMARY_FILE)
    online = summary["online_algorithm"]
    label = summary["algorithm"] + (f" → {online}" if online else "")
    return Run(
        workdir=workdir,
        label=label,
        dataset=summary["dataset"],
        offline=read_curve(workdir / (OFFLINE_METRICS if online else "metrics.csv"), "offline"),
        online=read_curve(workdir / "metrics.csv", "online"),
        summary=summary,
    )


def find_runs(directory: Path) -> list[Run]:
    """All finished runs in a directory and below, in order of their paths.

    Raises:
        InputError: there is none.
    """
    found = [path.parent for path in sorted(directory.rglob(SUMMARY_FILE)) if (path.parent / CONFIG_FILE).exists()]
    if not found:
        raise InputError(f"{directory} holds no finished run; run pretrain or finetune with a --workdir below it")
    return [read_run(workdir) for workdir in found]
