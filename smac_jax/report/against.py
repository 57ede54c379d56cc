"""SMAC beside the best of the other methods, task by task."""

from collections.abc import Mapping, Sequence

import numpy as np

from smac_jax.report.comparison import REFERENCE
from smac_jax.report.pairs import Pair
from smac_jax.report.tables import NOTHING, Cell, Row, Table, number

_COLUMNS = ("offline", "other's", "drop - noise", "other's", "regret", "other's", "lower by")
_NOTE = (
    f"The pair of {REFERENCE} and the pair of another method that have the lowest regret, with their drops; the "
    "highest offline score of another method, pre-trainings that nothing continues included. Means over seeds."
)


def _mean(pair: Pair, measure: str) -> float:
    """Mean over seeds; NaN where no run has the measure."""
    known = pair.measures[measure][np.isfinite(pair.measures[measure])]
    return float(known.mean()) if len(known) else np.nan


def _lowest_regret(pairs: Sequence[Pair]) -> Pair | None:
    known = [pair for pair in pairs if np.isfinite(_mean(pair, "regret"))]
    return min(known, key=lambda pair: _mean(pair, "regret"), default=None)


def _value(value: float, spread: str = "") -> Cell:
    return Cell(number(value), spread) if np.isfinite(value) else Cell(NOTHING)


def _row(dataset: str, pairs: Sequence[Pair]) -> Row | None:
    ours = [pair for pair in pairs if pair.algorithm == REFERENCE]
    others = [pair for pair in pairs if pair.algorithm != REFERENCE]
    mine, theirs = _lowest_regret(ours), _lowest_regret(others)
    if mine is None or theirs is None:
        return None
    regrets = [_mean(pair, "regret") for pair in (mine, theirs)]
    highest = max(others, key=lambda pair: np.nan_to_num(_mean(pair, "offline_score"), nan=-np.inf))
    cells = [
        _value(_mean(mine, "offline_score")),
        _value(_mean(highest, "offline_score"), highest.source),
        *(_value(_mean(pair, "net_drop")) for pair in (mine, theirs)),
        *(_value(regret, pair.label) for regret, pair in zip(regrets, (mine, theirs), strict=True)),
        Cell(f"{100 * (1 - regrets[0] / regrets[1]):.0f} %" if regrets[1] > 0 else NOTHING),
    ]
    return Row(dataset, mine.source, cells)


def against_others(tasks: Mapping[str, Sequence[Pair]]) -> Table | None:
    """A row for each task on which both SMAC and another method were fine-tuned; None if there is none.

    Args:
        tasks: pairs by dataset, those whose score is a share.
    """
    rows = [row for dataset, pairs in tasks.items() if (row := _row(dataset, pairs)) is not None]
    return Table("task", list(_COLUMNS), rows, _NOTE) if rows else None
