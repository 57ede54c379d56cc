"""Write a report: pictures, page and Markdown."""

from pathlib import Path

from smac_jax.report.content import Content
from smac_jax.report.curves import overview_figure, task_figure
from smac_jax.report.intervals import intervals_figure
from smac_jax.report.markdown import render_markdown
from smac_jax.report.page import Picture, render_page
from smac_jax.report.style import NARROW, WIDE, png

OVERVIEW = "learning_curve.png"
FIGURES = "figures"


def _figure_name(dataset: str) -> str:
    # Minari ids have no dots, so that different ids keep different names.
    return f"{FIGURES}/{dataset.replace('/', '.')}.png"


def write_report(content: Content, directory: Path) -> list[Path]:
    """Write the report.

    The learning curves of a single task, or an overview of several, are `learning_curve.png`; with several tasks
    `figures/` holds a picture of each and of the measures over them.

    Returns:
        The files written: page, Markdown, and the pictures.
    """
    colors = content.colors
    pictures: dict[str, bytes] = {}
    tasks, names = {}, {}
    several = len(content.tasks) > 1
    for task in content.tasks:
        # The picture for phones is in the page alone, below a heading that says the same.
        titles = {WIDE: task.dataset, NARROW: ""}
        wide, narrow = (png(task_figure(title, task.pairs, colors, layout)) for layout, title in titles.items())
        tasks[task.dataset] = Picture(wide, narrow)
        names[task.dataset] = _figure_name(task.dataset) if several else OVERVIEW
        pictures[names[task.dataset]] = wide
    overview = intervals = intervals_name = None
    if several:
        overview = Picture(
            png(overview_figure({task.dataset: task.pairs for task in content.tasks}, colors, WIDE)), None
        )
        pictures[OVERVIEW] = overview.wide
    if content.over and any(row.online for row in content.over.rows):
        intervals = Picture(
            *(
                png(intervals_figure(content.over.rows, len(content.over.datasets), colors, layout))
                for layout in (WIDE, NARROW)
            )
        )
        intervals_name = f"{FIGURES}/over_tasks.png"
        pictures[intervals_name] = intervals.wide
    for name, picture in pictures.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(picture)
    page, table = directory / "report.html", directory / "report.md"
    page.write_text(render_page(content, tasks, overview, intervals))
    table.write_text(render_markdown(content, names, OVERVIEW, intervals_name))
    return [page, table, *(directory / name for name in pictures)]
