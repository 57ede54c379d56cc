"""Pairs compared by the statistics of `smac_jax.statistics`: on one task and over several."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from smac_jax.report.pairs import Pair, online_rank, source_rank
from smac_jax.statistics import Estimate, estimate_improvement, estimate_iqm

TREATED = {"regret": True, "net_drop": True, "offline_score": False, "final_score": False}
"""Measures that statistics are made of, and whether low values are good."""

REFERENCE = "smac"
"""Offline method whose improvement on the others is estimated."""


class Overall(NamedTuple):
    """A pair over the tasks it was run on.

    Attributes:
        label: of the pair.
        source: see `Pair`.
        online: see `Pair`.
        algorithm: see `Pair`.
        strata: runs by measure and dataset, (S,) each; those without the measure are left out.
        tasks: number of tasks.
        runs: number of seeds on all of them.
        estimates: interquartile mean by measure; None where no run has the measure.
    """

    label: str
    source: str
    online: str | None
    algorithm: str
    strata: dict[str, dict[str, np.ndarray]]
    tasks: int
    runs: int
    estimates: dict[str, Estimate | None]


def compare_over_tasks(tasks: Mapping[str, Sequence[Pair]]) -> list[Overall]:
    """Interquartile means of every pair, with the tasks as strata.

    Args:
        tasks: pairs by dataset; give one dataset for the statistics of one task.
    """
    by_label: dict[str, list[Pair]] = {}
    for pairs in tasks.values():
        for pair in pairs:
            by_label.setdefault(pair.label, []).append(pair)
    rows = []
    for label, pairs in by_label.items():
        strata: dict[str, dict[str, np.ndarray]] = {}
        for measure in TREATED:
            finite = {pair.dataset: pair.measures[measure] for pair in pairs}
            finite = {dataset: values[np.isfinite(values)] for dataset, values in finite.items()}
            strata[measure] = {dataset: values for dataset, values in finite.items() if len(values)}
        rows.append(
            Overall(
                label=label,
                source=pairs[0].source,
                online=pairs[0].online,
                algorithm=pairs[0].algorithm,
                strata=strata,
                tasks=len(pairs),
                runs=sum(len(pair.seeds) for pair in pairs),
                estimates={
                    name: estimate_iqm(list(found.values())) if found else None for name, found in strata.items()
                },
            )
        )
    return sorted(rows, key=lambda row: (source_rank(row.source), online_rank(row.online or "")))


def improvement(one: Overall, other: Overall, measure: str) -> tuple[Estimate, int] | None:
    """Probability that a pair improves on another in a measure, over the tasks that both have, and their number.

    None if they have none in common.
    """
    common = [dataset for dataset in one.strata[measure] if dataset in other.strata[measure]]
    if not common:
        return None
    mine, theirs = ([pair.strata[measure][dataset] for dataset in common] for pair in (one, other))
    return estimate_improvement(mine, theirs, lower_is_better=TREATED[measure]), len(common)
