"""The tables of a report, as text that HTML and Markdown share."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from smac_jax.report.comparison import REFERENCE, TREATED, Overall, improvement
from smac_jax.report.pairs import Pair
from smac_jax.statistics import Estimate

TITLES = {
    "offline_score": "offline",
    "drop": "drop",
    "drop_noise": "drop noise",
    "net_drop": "drop - noise",
    "regret": "regret",
    "train_regret": "train regret",
    "final_score": "final",
}
NOTHING = "-"

# Percentile intervals of so few runs are told apart from those of more; the number is a judgement.
_FEW = 10


class Cell(NamedTuple):
    """A value with what is known of its spread; `best` marks the best of a column."""

    text: str
    spread: str = ""
    best: bool = False


class Row(NamedTuple):
    """A row; `source` tells its colour."""

    label: str
    source: str
    cells: list[Cell]


class Table(NamedTuple):
    """A table.

    Attributes:
        corner: heading of the labels.
        columns: headings of the cells.
        rows: see `Row`.
        note: what the cells are.
    """

    corner: str
    columns: list[str]
    rows: list[Row]
    note: str


def number(value: float) -> str:
    """Three decimals, or four digits where the value is a large return; never a negative zero."""
    text = f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
    return text[1:] if text.startswith("-") and not float(text) else text


def _spread_cell(values: np.ndarray, best: bool = False) -> Cell:
    """Mean and range over seeds; a dash where no run has the measure."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Cell(NOTHING)
    spread = f"{number(known.min())} to {number(known.max())}" if len(known) > 1 else ""
    return Cell(number(known.mean()), spread, best)


def _estimate_cell(estimate: Estimate | None, best: bool = False) -> Cell:
    if estimate is None:
        return Cell(NOTHING)
    spread = "{} to {}".format(*map(number, estimate.interval)) if estimate.interval else ""
    return Cell(number(estimate.value), spread, best)


def _lowest(texts: Sequence[str]) -> str | None:
    """The lowest number as it is shown: those that read the same are all the best."""
    shown = [text for text in texts if text != NOTHING]
    return min(shown, key=float) if len(shown) > 1 else None


def task_table(pairs: Sequence[Pair]) -> Table:
    """All measures of the pairs of one task: means over seeds."""
    best = _lowest([_spread_cell(pair.measures["regret"]).text for pair in pairs]) if pairs[0].is_share else None
    rows = []
    for pair in pairs:
        cells = {name: _spread_cell(pair.measures[name]) for name in TITLES}
        cells["regret"] = cells["regret"]._replace(best=best is not None and cells["regret"].text == best)
        rows.append(Row(pair.label, pair.source, [Cell(str(len(pair.seeds))), *cells.values()]))
    note = "Means over seeds, with the range over seeds beside them."
    return Table("method", ["seeds", *TITLES.values()], rows, note + (" The lowest regret is bold." if best else ""))


def _caution(rows: Sequence[Overall]) -> str:
    few = any(estimate and estimate.interval and row.runs < _FEW for row in rows for estimate in row.estimates.values())
    return (
        f" With fewer than {_FEW} runs the intervals are rather too narrow, as they cannot leave the range of the runs."
        if few
        else ""
    )


def iqm_table(rows: Sequence[Overall], tasks: int, mark: bool) -> Table:
    """Interquartile means over the runs of `tasks` tasks.

    Args:
        rows: see `compare_over_tasks`.
        tasks: number of them.
        mark: whether to mark the best regret, which is that of a pair that has all tasks.
    """
    regrets = [_estimate_cell(row.estimates["regret"]).text for row in rows]
    complete = [text for text, row in zip(regrets, rows, strict=True) if row.tasks == tasks]
    best = _lowest(complete) if mark else None
    body = []
    for row, regret in zip(rows, regrets, strict=True):
        counts = [Cell(str(row.tasks))] * (tasks > 1) + [Cell(str(row.runs))]
        body.append(
            Row(
                row.label,
                row.source,
                [
                    *counts,
                    *(
                        _estimate_cell(row.estimates[name], name == "regret" and row.tasks == tasks and regret == best)
                        for name in TREATED
                    ),
                ],
            )
        )
    note = "Interquartile means with 95 % bootstrap intervals" + (", stratified by task." if tasks > 1 else ".")
    note += _caution(rows)
    return Table("method", ["tasks"] * (tasks > 1) + ["runs", *(TITLES[name] for name in TREATED)], body, note)


def improvement_table(rows: Sequence[Overall], measure: str, tasks: int) -> Table | None:
    """Probability that the pairs of SMAC, as columns, improve on each pair; None without both."""
    tuned = [row for row in rows if row.online]
    columns = [row for row in tuned if row.algorithm == REFERENCE]
    if not columns or len(tuned) < 2:
        return None
    body = []
    for other in tuned:
        cells = []
        for column in columns:
            found = None if column is other else improvement(column, other, measure)
            cell = _estimate_cell(found[0] if found else None)
            if found and found[1] < tasks:
                cell = cell._replace(spread=f"{cell.spread}; {found[1]} of {tasks} tasks".removeprefix("; "))
            cells.append(cell)
        body.append(Row(other.label, other.source, cells))
    better = "lower" if TREATED[measure] else "higher"
    note = (
        f"Probability that a run of the column's pair has a {better} {TITLES[measure]} than a run of the row's on the "
        "same task, ties as halves, with 95 % bootstrap intervals. Above 0.5 the column's is better." + _caution(tuned)
    )
    return Table(f"{TITLES[measure]}, beaten by", [column.label for column in columns], body, note)
