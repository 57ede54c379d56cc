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


def _rivals(pairs: Sequence[Pair]) -> tuple[Pair, Pair] | None:
    """The pairs of SMAC and of another method with the lowest regret; None without both."""
    mine = _lowest_regret([pair for pair in pairs if pair.algorithm == REFERENCE])
    theirs = _lowest_regret([pair for pair in pairs if pair.algorithm != REFERENCE])
    return (mine, theirs) if mine is not None and theirs is not None else None


def _same_steps(mine: Pair, theirs: Pair) -> bool:
    """Whether both were evaluated at the same steps, as far as that was recorded."""
    if mine.continued is None or theirs.continued is None:
        return True
    return np.array_equal(mine.continued.steps, theirs.continued.steps)


def _row(dataset: str, pairs: Sequence[Pair], mine: Pair, theirs: Pair) -> Row:
    others = [pair for pair in pairs if pair.algorithm != REFERENCE]
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
    rivals = {dataset: found for dataset, pairs in tasks.items() if (found := _rivals(pairs)) is not None}
    if not rivals:
        return None
    rows = [_row(dataset, tasks[dataset], *found) for dataset, found in rivals.items()]
    apart = [dataset for dataset, found in rivals.items() if not _same_steps(*found)]
    # Regret weighs every evaluation alike, so that evaluating a dip more often counts it more often.
    note = f" Evaluated at different steps, over which regret is a mean: {', '.join(apart)}." if apart else ""
    return Table("task", list(_COLUMNS), rows, _NOTE + note)
