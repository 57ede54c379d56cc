"""What a report says, before it is written as HTML or Markdown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from smac_jax.report.against import against_others
from smac_jax.report.collect import Run
from smac_jax.report.comparison import TREATED, Overall, compare_over_tasks
from smac_jax.report.pairs import Pair, pool_runs
from smac_jax.report.style import source_colors
from smac_jax.report.tables import Table, improvement_table, iqm_table, task_table


class Task(NamedTuple):
    """One task: its pairs, all measures of them, and their interquartile means."""

    dataset: str
    pairs: list[Pair]
    table: Table
    iqm: Table


class Over(NamedTuple):
    """Several tasks together.

    Attributes:
        datasets: that are comparable.
        left_out: whose score is a raw return.
        rows: see `compare_over_tasks`.
        table: interquartile means.
    """

    datasets: list[str]
    left_out: list[str]
    rows: list[Overall]
    table: Table


class Content(NamedTuple):
    """All of a report.

    Attributes:
        tasks: in order of their names.
        over: of several comparable tasks; None if there are fewer than two.
        against: see `against_others`.
        improvements: probability of improvement, a table for each measure that has one.
        colors: by offline method, see `source_colors`.
        runs: directory and costs of every run.
        unfinished: directories of runs that are not in the report.
    """

    tasks: list[Task]
    over: Over | None
    against: Table | None
    improvements: list[Table]
    colors: dict[str, str]
    runs: list[dict[str, str]]
    unfinished: list[str]


def _costs(summary: dict[str, Any]) -> str:
    parts = []
    for name, text in (
        ("wall_time", "{:.0f} s in all"),
        ("updates_per_second", "{:.0f} updates/s"),
        ("env_steps_per_second", "{:.0f} environment steps/s"),
        ("compile_seconds", "{:.1f} s of compilation"),
    ):
        if summary.get(name) is not None:
            parts.append(text.format(summary[name]))
    return ", ".join(parts)


def _task(dataset: str, pairs: list[Pair]) -> Task:
    iqm = iqm_table(compare_over_tasks({dataset: pairs}), tasks=1, mark=pairs[0].is_share)
    return Task(dataset, pairs, task_table(pairs), iqm)


def make_content(runs: Sequence[Run], unfinished: Sequence[Path], directory: Path) -> Content:
    """Everything that is said about finished runs.

    Args:
        runs: below `directory`.
        unfinished: directories below `directory`.
        directory: shown paths are relative to it.
    """
    pooled = pool_runs(runs)
    comparable = {dataset: pairs for dataset, pairs in pooled.items() if pairs[0].is_share}
    over, improvements = None, []
    if comparable:
        rows = compare_over_tasks(comparable)
        count = len(comparable)
        if count > 1:
            left_out = [dataset for dataset in pooled if dataset not in comparable]
            over = Over(list(comparable), left_out, rows, iqm_table(rows, count, mark=True))
        found = (improvement_table(rows, measure, count) for measure in TREATED)
        improvements = [table for table in found if table is not None]
    return Content(
        tasks=[_task(dataset, pairs) for dataset, pairs in pooled.items()],
        over=over,
        against=against_others(comparable),
        improvements=improvements,
        colors=source_colors(pair.source for pairs in pooled.values() for pair in pairs),
        runs=[{"workdir": run.workdir.relative_to(directory).as_posix(), "text": _costs(run.summary)} for run in runs],
        unfinished=[path.relative_to(directory).as_posix() for path in unfinished],
    )
