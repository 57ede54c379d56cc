"""The report as one self-contained HTML page, pictures included."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from smac_jax.report.content import Content


class Picture(NamedTuple):
    """A picture as PNG files.

    Attributes:
        wide: for wide screens and for documents.
        narrow: the same for a phone; None where it is not shown there.
    """

    wide: bytes
    narrow: bytes | None


def _inline(picture: Picture, alt: str) -> dict[str, Any]:
    narrow = base64.b64encode(picture.narrow).decode() if picture.narrow else None
    return {"wide": base64.b64encode(picture.wide).decode(), "narrow": narrow, "alt": alt}


def render_page(
    content: Content, tasks: Mapping[str, Picture], overview: Picture | None, intervals: Picture | None
) -> str:
    """The page.

    Args:
        content: of the report.
        tasks: picture of each dataset.
        overview: of all tasks, if there are several.
        intervals: of the measures over tasks, if there are several.
    """
    over = content.over
    template = jinja2.Environment(autoescape=True, trim_blocks=False).from_string(
        Path(__file__).with_name("page.html").read_text()
    )
    return template.render(
        title="smac_jax: offline to online",
        colors=content.colors,
        overall=over
        and {
            "picture": intervals and _inline(intervals, "Regret and drop of each pair over all tasks"),
            "table": over.table,
            "left_out": over.left_out,
            "partial": any(row.tasks < len(over.datasets) for row in over.rows),
        },
        against=content.against,
        improvements=content.improvements,
        overview=overview and _inline(overview, "Learning curves of all tasks across the switch"),
        tasks=[
            {
                "dataset": task.dataset,
                "picture": _inline(tasks[task.dataset], f"Learning curves of {task.dataset} across the switch"),
                "table": task.table,
                "iqm": task.iqm,
            }
            for task in content.tasks
        ],
        runs=content.runs,
        unfinished=content.unfinished,
    )
