"""The report's tables as Markdown that links to its pictures."""

from collections.abc import Mapping

from smac_jax.report.content import Content
from smac_jax.report.tables import Cell, Table


def _cell(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.best else cell.text
    return f"{text} ({cell.spread})" if cell.spread else text


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _table(table: Table, corner: str | None = None) -> list[str]:
    return [
        _line([corner or table.corner, *table.columns]),
        "|---|" + "---:|" * len(table.columns),
        *(_line([row.label, *map(_cell, row.cells)]) for row in table.rows),
    ]


def _section(title: str, table: Table, picture: str | None = None) -> list[str]:
    image = [f"![{title}]({picture})", ""] if picture else []
    return [f"## {title}", "", *image, *_table(table), "", table.note, ""]


def render_markdown(content: Content, tasks: Mapping[str, str], overview: str, intervals: str | None) -> str:
    """The tables, each below a heading and its picture; a single table stands alone.

    Args:
        content: of the report.
        tasks: path of each dataset's picture, relative to the document.
        overview: path of the picture of all tasks.
        intervals: path of the picture of the measures over tasks, if there is one.
    """
    if len(content.tasks) == 1 and not content.improvements:
        [task] = content.tasks
        return "\n".join(_table(task.table, f"[{task.dataset}]({tasks[task.dataset]})")) + "\n"
    comparison = _section("Against the other methods", content.against) if content.against else []
    for number, table in enumerate(content.improvements):
        comparison += ["## Probability of improvement", ""] if number == 0 else []
        comparison += [*_table(table), "", table.note, ""]
    lines = ["# Offline to online", ""]
    if content.over:
        over = content.over
        lines += _section(f"{len(over.datasets)} tasks together", over.table, intervals)
        if over.left_out:
            lines += [f"Left out, because their score is a raw return: {', '.join(over.left_out)}.", ""]
        lines += comparison
    if len(content.tasks) > 1:
        lines += ["## All tasks", "", f"![All tasks]({overview})", ""]
    for task in content.tasks:
        lines += _section(task.dataset, task.table, tasks[task.dataset])
        lines += [*_table(task.iqm), "", task.iqm.note, ""]
    return "\n".join(lines if content.over else lines + comparison)
