"""Runs pooled over their seeds: one pair of offline and online method on one task."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from smac_jax.report.collect import RAW_RETURN, Curve, Run

MEASURES = ("offline_score", "drop", "drop_noise", "net_drop", "regret", "train_regret", "final_score")
"""Fields of `Pair.measures`: those of summary.json, and `net_drop` = drop - drop_noise."""

SCRATCH = "from scratch"
"""`Pair.source` of a method without an offline phase."""

_NO_ALGORITHM = "none"
_OFFLINE_ORDER = ("smac", "calql", "cql", "iql", "td3bc", "bc", SCRATCH)
_ONLINE_ORDER = ("sac", "td3", "td3bc")


class Pair(NamedTuple):
    """What is known of an offline method, and of the online method that continued it, on one task.

    Attributes:
        dataset: Minari id, which is what reports call a task.
        unit: see `Run`.
        algorithm: offline method.
        source: offline method, with what tells it from other runs of the same methods on the task, if there are.
        online: online method; None for a pre-training that nothing continues.
        seeds: (S,) of the runs.
        offline: curve of the pre-training.
        continued: curve of the fine-tuning.
        measures: (S,) each, in the order of `seeds`; NaN where a run has no such measure.
        workdirs: of the runs.
    """

    dataset: str
    unit: str
    algorithm: str
    source: str
    online: str | None
    seeds: tuple[int, ...]
    offline: Curve | None
    continued: Curve | None
    measures: dict[str, np.ndarray]
    workdirs: tuple[Path, ...]

    @property
    def label(self) -> str:
        """`source → online`, or the one there is alone."""
        if self.source.startswith(SCRATCH):
            return f"{self.online}{self.source.removeprefix(SCRATCH)}"
        return f"{self.source} → {self.online}" if self.online else self.source

    @property
    def is_share(self) -> bool:
        """Whether the score lies in [0, 1] or thereabouts, so that regret means something and tasks can be compared."""
        return self.unit != RAW_RETURN


def rank(name: str, order: Sequence[str]) -> tuple[int, str]:
    """Sorting key: known names in their order, then the others by name."""
    known = name.partition(" (")[0]
    return (order.index(known) if known in order else len(order), name)


def source_rank(source: str) -> tuple[int, str]:
    """Sorting key of offline methods."""
    return rank(source, _OFFLINE_ORDER)


def online_rank(online: str) -> tuple[int, str]:
    """Sorting key of online methods."""
    return rank(online, _ONLINE_ORDER)


def _same_curve(one: Curve, other: Curve) -> bool:
    return one.scores.shape == other.scores.shape and np.array_equal(one.scores, other.scores, equal_nan=True)


def _continues(run: Run, pretraining: Run) -> bool:
    """Whether a fine-tuning began with the agents of a pre-training; its copy of their metrics tells."""
    same = (run.dataset, run.algorithm, run.summary["seeds"]) == (
        pretraining.dataset,
        pretraining.algorithm,
        pretraining.summary["seeds"],
    )
    known = run.offline is not None and pretraining.offline is not None
    return same and (not known or _same_curve(run.offline, pretraining.offline))  # type: ignore[arg-type]


def _shared_parts(one: Path, other: Path) -> int:
    return len(list(takewhile(lambda parts: parts[0] == parts[1], zip(one.parts, other.parts, strict=False))))


def _attach(runs: Sequence[Run]) -> list[Run]:
    """Drop pre-trainings that a fine-tuning continues; fine-tunings without a copy of their curve get it from there."""
    pretrainings = [run for run in runs if run.online_algorithm is None]
    continued: set[Path] = set()
    attached = []
    for run in (run for run in runs if run.online_algorithm is not None):
        # Without a copy of the curve several may fit, and the nearest directory is the best guess.
        fitting = sorted(
            (other for other in pretrainings if _continues(run, other)),
            key=lambda other: -_shared_parts(run.workdir, other.workdir),
        )[: None if run.offline is not None else 1]
        continued |= {other.workdir for other in fitting}
        attached.append(run._replace(offline=fitting[0].offline) if run.offline is None and fitting else run)
    return [*attached, *(run for run in pretrainings if run.workdir not in continued)]


def _merge(curves: Sequence[Curve | None]) -> Curve | None:
    """One curve with the seeds of all, at the steps that all have."""
    present = [curve for curve in curves if curve is not None]
    if not present or len(present) < len(curves):
        return None
    steps = sorted(set.intersection(*(set(curve.steps.tolist()) for curve in present)))
    scores = [curve.scores[:, np.isin(curve.steps, steps)] for curve in present]
    return Curve(np.array(steps), np.concatenate(scores)) if steps else None


def _measures(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    def values(name: str) -> np.ndarray:
        missing = [None] * len(runs[0].summary["seeds"])
        found = [value for run in runs for value in run.summary.get(name, missing)]
        return np.array([np.nan if value is None else value for value in found], dtype=np.float64)

    measures = {name: values(name) for name in MEASURES if name != "net_drop"}
    return {**measures, "net_drop": measures["drop"] - measures["drop_noise"]}


def _variants(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of the same methods on one task, in groups that differ in their seeds only."""
    groups: list[list[Run]] = []
    for run in runs:
        for group in groups:
            taken = {seed for other in group for seed in other.summary["seeds"]}
            if group[0].settings == run.settings and not taken & set(run.summary["seeds"]):
                group.append(run)
                break
        else:
            groups.append([run])
    return groups


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """What tells each path from the others: its parts without those that all begin or end with."""
    parts = [path.parts for path in paths]
    if len(parts) == 1:
        return [""]
    limit = min(map(len, parts))
    front = next((i for i in range(limit) if len({names[i] for names in parts}) > 1), limit)
    back = next((i for i in range(limit - front) if len({names[-1 - i] for names in parts}) > 1), limit - front)
    return [" (" + ("/".join(names[front : len(names) - back]) or ".") + ")" for names in parts]


def pool_runs(runs: Sequence[Run]) -> dict[str, list[Pair]]:
    """Pool runs over seeds.

    Runs of the same methods on the same dataset are one pair if they differ in nothing but their seeds. Otherwise they
    stay apart, and the directory that tells them from each other becomes part of their name.

    Returns:
        The pairs of each dataset, offline methods in a fixed order.
    """
    grouped: dict[tuple[str, str, str | None], list[Run]] = {}
    for run in _attach(runs):
        grouped.setdefault((run.dataset, run.algorithm, run.online_algorithm), []).append(run)
    pairs = []
    for (dataset, algorithm, online), members in grouped.items():
        variants = _variants(members)
        names = _distinct_names([group[0].workdir for group in variants])
        for group, name in zip(variants, names, strict=True):
            pairs.append(
                Pair(
                    dataset=dataset,
                    unit=group[0].unit,
                    algorithm=algorithm,
                    source=(SCRATCH if algorithm == _NO_ALGORITHM else algorithm) + name,
                    online=online,
                    seeds=tuple(seed for run in group for seed in run.summary["seeds"]),
                    offline=_merge([run.offline for run in group]),
                    continued=_merge([run.online for run in group]),
                    measures=_measures(group),
                    workdirs=tuple(run.workdir for run in group),
                )
            )
    pairs.sort(key=lambda pair: (pair.dataset, source_rank(pair.source), online_rank(pair.online or "")))
    return {
        dataset: [pair for pair in pairs if pair.dataset == dataset]
        for dataset in dict.fromkeys(p.dataset for p in pairs)
    }
