"""The log of a run: CSV records and TensorBoard events."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter

from smac_jax.envs.collector import Outcome
from smac_jax.io.records import EPISODE_FIELDS, METRICS_FIELDS, append_rows, rewind

METRICS, EPISODES, TRAIN, TRAIN_EPISODES = "metrics.csv", "episodes.csv", "train.csv", "train_episodes.csv"


class RunLogger:
    """Writes what a run measures, for S seeds at once.

    Files: `metrics.csv` (a row an evaluation and seed), `episodes.csv` (a row an evaluation episode), `train.csv`
    (losses and diagnostics), `train_episodes.csv` (a row a training episode), `tb/` (all but the episodes).
    """

    def __init__(self, workdir: Path, phase: str, seeds: Sequence[int], resume_step: int | None):
        """Open the log; `resume_step` drops what was written after the checkpoint that the run resumes from."""
        self._workdir, self._phase, self._seeds = workdir, phase, list(seeds)
        if resume_step is not None:
            for name in (METRICS, EPISODES, TRAIN, TRAIN_EPISODES):
                rewind(workdir / name, resume_step)
        purge = None if resume_step is None else resume_step + 1
        self._writers = [SummaryWriter(str(workdir / "tb" / f"seed_{seed}"), purge_step=purge) for seed in self._seeds]

    def _scalars(self, index: int, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                self._writers[index].add_scalar(f"{self._phase}/{name}", value, step)

    def evaluation(self, step: int, results: Sequence[Sequence[Outcome]], wall_time: float) -> None:
        """Write an evaluation's outcomes, given by seed and episode."""
        rows = evaluation_rows(self._phase, step, self._seeds, results, wall_time)
        episode_rows = []
        for index, (row, outcomes) in enumerate(zip(rows, results, strict=True)):
            common = {"phase": self._phase, "step": step, "seed": row["seed"]}
            episode_rows += [
                {**common, "episode": number, **_outcome_row(outcome)} for number, outcome in enumerate(outcomes)
            ]
            self._scalars(index, step, {name: row[name] for name in ("score", "return", "success", "length")})
        append_rows(self._workdir / EPISODES, episode_rows, EPISODE_FIELDS)
        append_rows(self._workdir / METRICS, rows, METRICS_FIELDS)

    def train(self, step: int, infos: Mapping[str, np.ndarray]) -> None:
        """Write losses and diagnostics, each an array (S,); NaN, of what was not measured, is left blank."""
        rows: list[dict[str, Any]] = []
        for index, seed in enumerate(self._seeds):
            values = {name: float(values[index]) for name, values in sorted(infos.items())}
            rounded = {name: "" if math.isnan(value) else float(f"{value:.6g}") for name, value in values.items()}
            rows.append({"phase": self._phase, "step": step, "seed": seed, **rounded})
            self._scalars(index, step, values)
        append_rows(self._workdir / TRAIN, rows)

    def train_episodes(self, step: int, outcomes: Mapping[int, Outcome]) -> None:
        """Write training episodes that ended at `step`, by index of their seed."""
        rows = [
            {
                "phase": self._phase,
                "step": step,
                "seed": self._seeds[index],
                "episode": "",
                **_outcome_row(outcome),
            }
            for index, outcome in sorted(outcomes.items())
        ]
        append_rows(self._workdir / TRAIN_EPISODES, rows, EPISODE_FIELDS)

    def close(self) -> None:
        """Flush and close the event files."""
        for writer in self._writers:
            writer.close()


def evaluation_rows(
    phase: str, step: int, seeds: Sequence[int], results: Sequence[Sequence[Outcome]], wall_time: float
) -> list[dict[str, Any]]:
    """Rows of `metrics.csv`, one a seed: means over the outcomes of an evaluation."""
    rows = []
    for seed, outcomes in zip(seeds, results, strict=True):
        means = np.mean(np.asarray(outcomes, np.float64), axis=0).round(6).tolist()
        row = {"phase": phase, "step": step, "seed": seed}
        row |= dict(zip(("score", "return", "success", "length"), means, strict=True))
        rows.append({**row, "episodes": len(outcomes), "wall_time": round(wall_time, 3)})
    return rows


def _outcome_row(outcome: Outcome) -> dict[str, float]:
    return {
        "score": round(outcome.score, 6),
        "return": round(outcome.episode_return, 6),
        "success": outcome.success,
        "length": outcome.length,
    }
